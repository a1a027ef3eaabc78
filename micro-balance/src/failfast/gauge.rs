//! What those who ask a service know of it together: since when it has not been ready, and how many wait.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::ewma::nanos;

/// What is known of the service.
#[derive(Debug)]
pub(super) struct Gauge {
    epoch: Instant,
    /// Nanoseconds since the epoch when it was first seen not to be ready, plus one; 0 while it is.
    unready: AtomicU64,
    /// The same of when it was last seen so.
    seen: AtomicU64,
    waiting: AtomicU32,
}

impl Gauge {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            unready: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
        }
    }

    pub(super) fn ready(&self) {
        if self.unready.load(Relaxed) != 0 {
            self.unready.store(0, Relaxed);
        }
    }

    /// Since when the service has not been ready, now that it is not.
    pub(super) fn unready(&self, now: Instant, limit: Duration) -> Instant {
        let nanos = self.nanos(now);
        let stale = self.is_stale(now, limit);
        self.seen.store(nanos, Relaxed);
        if stale {
            self.unready.store(nanos, Relaxed);
            return now;
        }
        match self.unready.compare_exchange(0, nanos, Relaxed, Relaxed) {
            Ok(_) => now,
            Err(since) => self.instant(since),
        }
    }

    /// Whether the service has not been ready for `limit`, as far as is known.
    pub(super) fn is_failing(&self, limit: Duration) -> bool {
        match self.unready.load(Relaxed) {
            0 => false,
            unready => self.instant(unready).elapsed() >= limit && !self.is_stale(Instant::now(), limit),
        }
    }

    /// How many requests wait for it.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    /// A place among at most `max` who wait.
    pub(super) fn place(self: &Arc<Self>, max: u32, now: Instant) -> Option<Place> {
        let place = |waiting: u32| (waiting < max).then_some(waiting + 1);
        self.waiting.fetch_update(Relaxed, Relaxed, place).ok()?;
        Some(Place { gauge: self.clone(), began: now })
    }

    /// Whether nobody has looked for so long that the service may well have been ready meanwhile: one who waits looks again
    /// after the limit.
    fn is_stale(&self, now: Instant, limit: Duration) -> bool {
        let seen = self.seen.load(Relaxed);
        seen != 0 && now.saturating_duration_since(self.instant(seen)) > limit.saturating_mul(2)
    }

    fn nanos(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.epoch)).saturating_add(1)
    }

    fn instant(&self, unready: u64) -> Instant {
        self.epoch + Duration::from_nanos(unready - 1)
    }
}

/// A place among those who wait, and since when it is taken.
pub(super) struct Place {
    gauge: Arc<Gauge>,
    pub(super) began: Instant,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gauge.waiting.fetch_sub(1, Relaxed);
    }
}
