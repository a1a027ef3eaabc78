//! Figures that most of many endpoints never need: they are kept from when there is something to keep.

use super::Ended;
use crate::{
    atomic::{
        AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
    classify::Fault,
    load_report::Reported,
    times::Times,
};

/// Failures ever, what ended without a success since the driver took the count, and what else is seldom.
pub(super) struct Seldom {
    failures: AtomicU64,
    failed: AtomicU32,
    broken: AtomicU32,
    void: AtomicU32,
    /// See [`Counts::halves`](super::load::Counts::halves).
    halves: AtomicU32,
    /// What it says of its load, where the policy wants to know.
    pub(super) reported: Reported,
    /// How long answers took, if anybody wants to be told.
    pub(super) times: Option<Times>,
}

/// What ended without a success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unwell {
    pub(super) failed: u32,
    pub(super) broken: u32,
    pub(super) void: u32,
}

impl Seldom {
    /// Nothing of anything; with `times`, how long answers take is kept.
    pub(super) fn new(times: bool) -> Box<Self> {
        Box::new(Self {
            failures: AtomicU64::new(0),
            failed: AtomicU32::new(0),
            broken: AtomicU32::new(0),
            void: AtomicU32::new(0),
            halves: AtomicU32::new(0),
            reported: Reported::default(),
            times: times.then(Times::new),
        })
    }

    /// How many requests failed, ever.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    pub(super) fn fail(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self, how: Ended) {
        let count = match how {
            Ended::Failed(Fault::Local) => &self.broken,
            Ended::Failed(_) => &self.failed,
            Ended::Void => &self.void,
        };
        count.fetch_add(1, Relaxed);
    }

    /// Takes what ended without a success since this was asked last.
    pub(super) fn take(&self) -> Unwell {
        let take = |count: &AtomicU32| count.swap(0, Relaxed);
        Unwell { failed: take(&self.failed), broken: take(&self.broken), void: take(&self.void) }
    }

    pub(super) fn halves(&self) -> u32 {
        self.halves.load(Acquire)
    }

    /// Keeps how many halves there were, as seen just now.
    pub(super) fn know(&self, halves: u32) {
        self.halves.fetch_max(halves, AcqRel);
    }
}

impl Unwell {
    /// All of them; what does not fit is left out.
    pub(super) fn sum(self) -> u32 {
        self.failed.wrapping_add(self.broken).wrapping_add(self.void)
    }
}
