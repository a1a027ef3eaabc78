//! Sums over the recent past.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicI64, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::ewma::nanos;

/// How finely the past is forgotten: in tenths of the window.
const SLOTS: usize = 10;

/// `N` sums over the last `window`.
///
/// Adding is one atomic addition. Whatever happens less often is done under a mutex: a slot that expires, a
/// sum that has to be exact.
#[derive(Debug)]
pub(crate) struct Sliding<const N: usize> {
    slot: u64,
    epoch: Instant,
    current: AtomicU64,
    slots: [[AtomicI64; N]; SLOTS],
    turning: Mutex<()>,
}

/// Proof that nothing expires and nobody else decides by the sums meanwhile.
pub(crate) struct Still<'a, const N: usize> {
    sliding: &'a Sliding<N>,
    _turning: MutexGuard<'a, ()>,
}

impl<const N: usize> Sliding<N> {
    pub(crate) fn new(window: Duration) -> Self {
        Self {
            slot: (u64::try_from(window.as_nanos()).unwrap_or(u64::MAX) / SLOTS as u64).max(1),
            epoch: Instant::now(),
            current: AtomicU64::new(0),
            slots: std::array::from_fn(|_| std::array::from_fn(|_| AtomicI64::new(0))),
            turning: Mutex::new(()),
        }
    }

    /// Adds to sum number `n` what happens `now`.
    pub(crate) fn add(&self, n: usize, amount: i64, now: Instant) {
        if self.time(now) > self.current.load(Acquire) {
            drop(self.still(now));
        }
        self.put(n, amount);
    }

    /// Adds to sum number `n` without looking at the clock.
    pub(crate) fn put(&self, n: usize, amount: i64) {
        self.slots[self.current.load(Acquire) as usize % SLOTS][n].fetch_add(amount, Relaxed);
    }

    /// Sum number `n`, as exact as can be had without a lock.
    pub(crate) fn sum(&self, n: usize) -> i64 {
        self.slots.iter().fold(0, |sum: i64, slot| sum.saturating_add(slot[n].load(Relaxed)))
    }

    /// Forgets what expired up to `now`, and holds things there.
    pub(crate) fn still(&self, now: Instant) -> Still<'_, N> {
        let turning = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        let (current, time) = (self.current.load(Relaxed), self.time(now));
        // An addition that races with this may count as one slot older.
        for expired in (current + 1..=time).take(SLOTS) {
            self.slots[expired as usize % SLOTS].iter().for_each(|sum| sum.store(0, Relaxed));
        }
        if time > current {
            self.current.store(time, Release);
        }
        Still { sliding: self, _turning: turning }
    }

    fn time(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.epoch)) / self.slot
    }
}

impl<const N: usize> Still<'_, N> {
    pub(crate) fn sum(&self, n: usize) -> i64 {
        self.sliding.sum(n)
    }

    pub(crate) fn put(&self, n: usize, amount: i64) {
        self.sliding.put(n, amount);
    }
}
