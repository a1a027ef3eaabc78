//! How requests at one endpoint ended where it was not well: what ejection goes by.

use crate::{
    atomic::{AtomicU64, Ordering::Relaxed},
    classify::Fault,
    eject::{Reason, Rows},
};

/// How a request ended that was no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By a failure.
    Failed(Fault),
    /// Without a word on the endpoint: handed back, or given up early.
    Void,
}

/// Failures in a row: every success looks whether it ends one. See [`Rows`].
#[derive(Debug)]
pub(super) struct Record(AtomicU64);

impl Record {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(Rows::NONE.word()))
    }

    #[inline]
    pub(super) fn is_failing(&self) -> bool {
        Rows::of(self.0.load(Relaxed)) != Rows::NONE
    }

    /// Starts to count failures in a row anew.
    pub(super) fn break_row(&self) {
        self.0.store(Rows::NONE.word(), Relaxed);
    }

    /// Starts to count those of `reason` anew, and gives what is left of all; nothing where that is no row.
    pub(super) fn spare(&self, reason: Reason) -> Option<Rows> {
        let mut word = self.0.load(Relaxed);
        loop {
            let rows = Rows::of(word).without(reason);
            if rows.word() == word {
                return None;
            }
            match self.0.compare_exchange_weak(word, rows.word(), Relaxed, Relaxed) {
                Ok(_) => return Some(rows),
                Err(other) => word = other,
            }
        }
    }

    /// Counts a failure, and gives those in a row; for `apart` see [`Rows::after`].
    pub(super) fn fail(&self, fault: Fault, apart: bool) -> Rows {
        let mut word = self.0.load(Relaxed);
        loop {
            let rows = Rows::of(word).after(fault, apart);
            match self.0.compare_exchange_weak(word, rows.word(), Relaxed, Relaxed) {
                Ok(_) => return rows,
                Err(other) => word = other,
            }
        }
    }
}
