//! How requests at one endpoint ended where it was not well: what ejection goes by.

use crate::{
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    classify::Fault,
    eject::Rows,
};

/// How a request ended that was no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By a failure.
    Failed(Fault),
    /// Without a word on the endpoint: handed back, or given up early.
    Void,
}

/// Failures in a row and ever, and what ended without a success since the driver took the count.
///
/// The rows stand first: every success looks whether it ends one.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Record {
    /// See [`Rows`].
    rows: AtomicU64,
    failures: AtomicU64,
    failed: AtomicU32,
    broken: AtomicU32,
    void: AtomicU32,
}

/// What ended without a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unwell {
    pub(super) failed: u32,
    pub(super) broken: u32,
    pub(super) void: u32,
}

impl Record {
    pub(super) fn new() -> Self {
        Self {
            rows: AtomicU64::new(Rows::NONE.word()),
            failures: AtomicU64::new(0),
            failed: AtomicU32::new(0),
            broken: AtomicU32::new(0),
            void: AtomicU32::new(0),
        }
    }

    /// How many requests failed, ever.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    #[inline]
    pub(super) fn is_failing(&self) -> bool {
        Rows::of(self.rows.load(Relaxed)) != Rows::NONE
    }

    /// Starts to count failures in a row anew.
    pub(super) fn break_row(&self) {
        self.rows.store(Rows::NONE.word(), Relaxed);
    }

    /// Counts a failure, and gives those in a row; for `apart` see [`Rows::after`].
    pub(super) fn fail(&self, fault: Fault, apart: bool) -> Rows {
        self.failures.fetch_add(1, Relaxed);
        let mut word = self.rows.load(Relaxed);
        loop {
            let rows = Rows::of(word).after(fault, apart);
            match self.rows.compare_exchange_weak(word, rows.word(), Relaxed, Relaxed) {
                Ok(_) => return rows,
                Err(other) => word = other,
            }
        }
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
}

impl Unwell {
    pub(super) fn sum(self) -> u64 {
        u64::from(self.failed) + u64::from(self.broken) + u64::from(self.void)
    }
}
