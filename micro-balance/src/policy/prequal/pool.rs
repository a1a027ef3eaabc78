//! What probes have found, for picks to choose from.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::task::AtomicWaker;

use crate::atomic::{
    AtomicBool, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

/// How many findings are kept.
pub(super) const SIZE: usize = 16;
/// For how long a finding is of use, in nanoseconds.
const FRESH: u64 = 1_000_000_000;

/// One endpoint as a probe found it.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(super) serial: u64,
    /// Requests it is busy with, and those sent there since.
    pub(super) busy: AtomicU32,
    /// In nanoseconds.
    pub(super) latency: u64,
    /// In nanoseconds as the balancer counts them.
    pub(super) at: u64,
    pub(super) uses: AtomicU32,
    pub(super) spent: AtomicBool,
}

impl Finding {
    pub(crate) fn new(serial: u64, busy: u32, latency: u64, at: u64) -> Self {
        let (busy, uses) = (AtomicU32::new(busy), AtomicU32::new(0));
        Self { serial, busy, latency, at, uses, spent: AtomicBool::new(false) }
    }

    /// Counts a request that goes there by this, and gives it up after `most`.
    pub(super) fn use_once(&self, most: u32) {
        self.busy.fetch_add(1, Relaxed);
        if self.uses.fetch_add(1, Relaxed) + 1 >= most {
            self.spent.store(true, Relaxed);
        }
    }

    pub(super) fn is_of_use(&self, now: u64) -> bool {
        !self.spent.load(Relaxed) && now.saturating_sub(self.at) < FRESH
    }
}

/// What picks and the task that probes share.
#[derive(Debug, Default)]
pub struct Probing {
    pool: ArcSwap<Vec<Arc<Finding>>>,
    /// How many probes are to be sent.
    wanted: AtomicU32,
    waker: AtomicWaker,
}

impl Probing {
    pub(super) fn pool(&self) -> arc_swap::Guard<Arc<Vec<Arc<Finding>>>> {
        self.pool.load()
    }

    /// Asks for `count` probes; neither waits nor allocates.
    pub(super) fn want(&self, count: u32) {
        self.wanted.fetch_add(count, Release);
        self.waker.wake();
    }

    /// How many probes have been asked for since this was, or to be woken when some are.
    pub(crate) fn take_wanted(&self, waker: &std::task::Waker) -> u32 {
        self.waker.register(waker);
        self.wanted.swap(0, Acquire)
    }

    /// Adds a finding, in place of the oldest where there are too many, and of an older one of the same
    /// endpoint.
    pub(crate) fn add(&self, finding: Finding) {
        let old = self.pool.load();
        let kept = |other: &&Arc<Finding>| other.serial != finding.serial && other.is_of_use(finding.at);
        let mut pool: Vec<_> = old.iter().filter(kept).cloned().collect();
        let surplus = (pool.len() + 1).saturating_sub(SIZE);
        // The oldest stand first.
        pool.drain(..surplus);
        pool.push(Arc::new(finding));
        self.pool.store(Arc::new(pool));
    }
}

#[cfg(all(test, micro_loom))]
mod loom_tests {
    use loom::thread;

    use super::*;

    #[test]
    fn loom_every_use_of_a_finding_counts_and_the_last_one_spends_it() {
        loom::model(|| {
            let finding = Arc::new(Finding::new(1, 5, 100, 1));
            let other = finding.clone();
            let thread = thread::spawn(move || other.use_once(2));
            finding.use_once(2);
            thread.join().unwrap();
            assert_eq!(finding.busy.load(Relaxed), 7);
            assert!(!finding.is_of_use(1));
        });
    }

    #[test]
    fn loom_no_probe_that_is_wanted_is_forgotten() {
        loom::model(|| {
            let wanted = Arc::new(AtomicU32::new(0));
            let other = wanted.clone();
            let thread = thread::spawn(move || other.fetch_add(3, Release));
            let first = wanted.swap(0, Acquire);
            thread.join().unwrap();
            assert_eq!(first + wanted.swap(0, Acquire), 3);
        });
    }
}
