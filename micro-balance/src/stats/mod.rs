//! The figures of one endpoint: what is in flight, how it fares, and whether requests may go there.
//!
//! They are kept by endpoint, not by set of endpoints, and survive every change around it.

mod load;
mod owed;
mod record;
mod seldom;
mod home;
mod answers;
mod load_reports;
#[cfg(all(test, micro_loom))]
mod models;

use std::{any::Any, fmt, sync::Arc};

use once_cell::race::OnceBox;

pub(crate) use self::{
    home::{Home, Report},
    load::{EJECTED, LOST, UNWELL},
    record::Ended,
};
use self::{
    load::{Counts, Load, PROBING, REPORTED},
    owed::Owed,
    record::Record,
    seldom::Seldom,
};
use crate::{clock::Moment, condition::Condition, ewma::Ewma};

/// The figures of one endpoint, written by requests and read by policies.
///
/// What picks and requests read or write stands first, next to the reference count: most often one line of the
/// cache has it all.
#[repr(C)]
pub(crate) struct Stats {
    load: Load,
    latency: Ewma,
    owed: Owed,
    record: Record,
    /// An address and no more, which a box made once by the standard library is not.
    seldom: OnceBox<Seldom>,
    home: Arc<Home>,
    serial: u64,
    id: Arc<str>,
}

impl Stats {
    pub(crate) fn new(serial: u64, id: Arc<str>, home: Arc<Home>) -> Self {
        let settings = &home.settings;
        Self {
            load: Load::new(LOST),
            latency: Ewma::new(settings.clock.now().get()),
            owed: Owed::new(settings.timing.is_some()),
            record: Record::new(),
            seldom: if settings.times { OnceBox::with_value(Seldom::new(true)) } else { OnceBox::new() },
            home,
            serial,
            id,
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
        let known = self.seldom.get().map_or(0, |seldom| seldom.halves());
        let counts = self.load.counts(known);
        if counts.halves() > known {
            self.seldom().know(counts.halves());
        }
        counts
    }

    /// What is seldom needed, from now on.
    fn seldom(&self) -> &Seldom {
        self.seldom.get_or_init(|| Seldom::new(self.home.settings.times))
    }

    pub(crate) fn failures(&self) -> u64 {
        self.seldom.get().map_or(0, |seldom| seldom.failures())
    }

    #[inline]
    pub(crate) fn latency(&self) -> &Ewma {
        &self.latency
    }

    /// For how long it has answered nothing while requests wait for it, in nanoseconds.
    #[inline]
    pub(crate) fn silence(&self, now: u64) -> u64 {
        self.owed.silence(now)
    }

    /// Whether that is so long that it may be asked once more.
    pub(crate) fn is_overdue(&self, now: u64) -> bool {
        self.owed.is_overdue(now)
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
        self.load.bar(PROBING)
    }

    /// Whether a request has it.
    pub(crate) fn is_probed(&self) -> bool {
        !self.load.is_open(PROBING)
    }

    pub(crate) fn release_probe(&self) {
        self.load.unbar(PROBING);
    }

    pub(crate) fn probed(&self, well: bool) {
        self.home.report(Report::Probed(self.serial, well));
    }

    pub(crate) fn checked(&self, condition: Condition) {
        self.home.report(Report::Checked(self.serial, condition));
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

#[cfg(all(test, not(micro_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_an_endpoint_take_80_bytes_at_most_and_their_count_16_more() {
        assert!(size_of::<Stats>() <= 80);
    }
}
