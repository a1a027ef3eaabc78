//! Counts the requests for which a step of eligibility gave way.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Which steps gave way for a group of endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(u8);

impl Marks {
    pub(crate) const DRAINED: Self = Self(1);
    pub(crate) const PRIORITY: Self = Self(2);
    pub(crate) const PANIC: Self = Self(4);
    pub(crate) const LOCALITY: Self = Self(8);
    pub(crate) const TRIED: Self = Self(16);
    pub(crate) const DEGRADED: Self = Self(32);

    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn when(self, condition: bool) -> Self {
        if condition { self } else { Self(0) }
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// How many requests each step gave way for.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    drained: AtomicU64,
    priority: AtomicU64,
    panic: AtomicU64,
    locality: AtomicU64,
    tried: AtomicU64,
    degraded: AtomicU64,
}

impl Counters {
    #[cold]
    pub(crate) fn count(&self, marks: Marks) {
        let counters = [
            (Marks::DRAINED, &self.drained),
            (Marks::PRIORITY, &self.priority),
            (Marks::PANIC, &self.panic),
            (Marks::LOCALITY, &self.locality),
            (Marks::TRIED, &self.tried),
            (Marks::DEGRADED, &self.degraded),
        ];
        for (_, counter) in counters.iter().filter(|(mark, _)| marks.has(*mark)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Fallbacks {
        Fallbacks {
            drained: self.drained.load(Relaxed),
            priority: self.priority.load(Relaxed),
            panic: self.panic.load(Relaxed),
            locality: self.locality.load(Relaxed),
            tried: self.tried.load(Relaxed),
            degraded: self.degraded.load(Relaxed),
        }
    }
}

/// How many requests each step of [eligibility](crate::eligible) gave way for, since the balancer was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fallbacks {
    /// Sent to endpoints of weight 0, as no others could take them.
    pub drained: u64,
    /// Sent to another than the first priority.
    pub priority: u64,
    /// Sent regardless of ejections, as too few endpoints were left. Envoy calls it `lb_healthy_panic`.
    pub panic: u64,
    /// Sent regardless of zones, as the rule for them could not be kept.
    pub locality: u64,
    /// Sent once more to an endpoint that they had been to, as no other could take them.
    pub tried: u64,
    /// Sent to endpoints that are degraded, as those that are well do not suffice.
    pub degraded: u64,
}
