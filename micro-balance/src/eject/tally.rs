//! How often each detector has found something.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::reason::Reason;

/// What one detector of a balancer has found so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ejections {
    /// Which one.
    pub reason: Reason,
    /// How often an endpoint was ejected.
    pub enforced: u64,
    /// How often one was not: by the enforced percentage, or because too many were out already.
    pub unenforced: u64,
}

/// The counts of all detectors.
#[derive(Debug, Default)]
pub(crate) struct Tally([(AtomicU64, AtomicU64); Reason::ALL.len()]);

impl Tally {
    pub(crate) fn count(&self, reason: Reason, enforced: bool) {
        let (ejected, spared) = &self.0[reason.place()];
        if enforced { ejected } else { spared }.fetch_add(1, Relaxed);
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Ejections> {
        Reason::ALL.into_iter().zip(&self.0).map(|(reason, (enforced, unenforced))| Ejections {
            reason,
            enforced: enforced.load(Relaxed),
            unenforced: unenforced.load(Relaxed),
        })
    }
}
