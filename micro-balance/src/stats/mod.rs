//! The figures of one endpoint: what is in flight, how it fares, and whether requests may go there.
//!
//! They are kept by endpoint, not by set of endpoints, and survive every change around it.

mod load;
mod record;
mod home;
mod answers;
mod load_reports;
#[cfg(all(test, micro_loom))]
mod models;

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
};

pub(crate) use self::{
    home::{Home, Report},
    load::{EJECTED, LOST, UNWELL},
    record::Ended,
};
use self::{
    load::{Counts, Load, REPORTED},
    record::Record,
};
use crate::{
    atomic::{
        AtomicBool, AtomicU64,
        Ordering::{AcqRel, Acquire, Release},
    },
    clock::Moment,
    ewma::Ewma,
    load_report::Reported,
    times::Times,
};

/// The figures of one endpoint, written by requests and read by policies.
///
/// What picks and requests read or write stands first, next to the reference count: most often one line of the
/// cache has it all.
#[repr(C)]
pub(crate) struct Stats {
    load: Load,
    latency: Ewma,
    record: Record,
    probing: AtomicBool,
    /// How many picks there were when somebody last wanted to know.
    known: AtomicU64,
    serial: u64,
    id: Arc<str>,
    reported: OnceLock<Box<Reported>>,
    /// How long answers took, if anybody wants to be told.
    times: Option<Box<Times>>,
    home: Arc<Home>,
}

impl Stats {
    pub(crate) fn new(serial: u64, id: Arc<str>, home: Arc<Home>) -> Self {
        let settings = &home.settings;
        Self {
            load: Load::new(LOST),
            latency: Ewma::new(settings.clock.now().get()),
            record: Record::new(),
            probing: AtomicBool::new(false),
            known: AtomicU64::new(0),
            serial,
            id,
            reported: OnceLock::new(),
            times: settings.times.then(|| Box::new(Times::new())),
            home,
        }
    }

    #[inline]
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    pub(crate) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The balancer, if it is still there and of this type.
    pub(crate) fn home<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.home.balancer()
    }

    #[inline]
    pub(crate) fn in_flight(&self) -> u64 {
        self.load.in_flight()
    }

    /// Whether it has fewer requests in flight than `other`.
    #[inline]
    pub(crate) fn is_less_busy(&self, other: &Self) -> bool {
        self.load.is_below(&other.load)
    }

    pub(crate) fn picks(&self) -> u64 {
        self.counts().picks
    }

    /// How many requests there were and are, without end: what the word has room for is told from what was known.
    fn counts(&self) -> Counts {
        let counts = self.load.counts(self.known.load(Acquire));
        self.known.fetch_max(counts.picks, AcqRel);
        counts
    }

    pub(crate) fn failures(&self) -> u64 {
        self.record.failures()
    }

    #[inline]
    pub(crate) fn latency(&self) -> &Ewma {
        &self.latency
    }

    /// The time by the clock of the balancer.
    #[inline]
    pub(crate) fn now(&self) -> Moment {
        self.home.settings.clock.now()
    }

    /// Whether a request may go here, where `mask` says which bars count.
    #[inline]
    pub(crate) fn is_open(&self, mask: u8) -> bool {
        self.load.is_open(mask)
    }

    pub(crate) fn bar(&self, bar: u8) {
        self.load.bar(bar);
    }

    pub(crate) fn unbar(&self, bar: u8) {
        self.load.unbar(bar);
    }

    /// Notes that the endpoint's service was not ready, once until the driver has seen to it.
    pub(crate) fn lost(&self) {
        if self.load.bar(LOST) {
            self.home.report(Report::Lost(self.serial));
        }
    }

    /// Takes the one permit of a half-open endpoint.
    pub(crate) fn try_probe(&self) -> bool {
        self.probing.compare_exchange(false, true, AcqRel, Acquire).is_ok()
    }

    pub(crate) fn release_probe(&self) {
        self.probing.store(false, Release);
    }

    pub(crate) fn probed(&self, well: bool) {
        self.home.report(Report::Probed(self.serial, well));
    }

    pub(crate) fn checked(&self, well: bool) {
        self.home.report(Report::Checked(self.serial, well));
    }

    /// Starts over with a clean record, as after ejection.
    pub(crate) fn forgive(&self) {
        self.break_row();
        self.latency.reset(self.now().get());
    }

    /// Lets the endpoint be reported as failing once more; it is still failing if it has been since.
    pub(crate) fn heard(&self) {
        self.unbar(REPORTED);
    }
}

impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stats").field("id", &self.id).field("load", &self.load).finish_non_exhaustive()
    }
}
