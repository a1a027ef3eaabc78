//! The time, for the figures that every request writes.

use std::{num::NonZeroU64, time};

use tokio::time::Instant;

use crate::ewma::nanos;

/// A time in nanoseconds since a balancer was built: one word, and never 0, so that none fits in it as well.
pub(crate) type Moment = NonZeroU64;

/// Counts nanoseconds from when it was made.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// The processor's own counter where there is one to rely on. Asking the operating system twice would
    /// take longer than all the rest of a request here.
    Counter { clock: quanta::Clock, start: u64 },
    /// Tokio's clock, where it does not tell the real time: a test has paused it.
    Tokio { start: Instant },
}

impl Clock {
    pub(crate) fn new() -> Self {
        let before = time::Instant::now();
        let start = Instant::now();
        // A paused clock stands still, or was sent ahead.
        if (before..=time::Instant::now()).contains(&start.into_std()) {
            let clock = quanta::Clock::new();
            Self::Counter { start: clock.raw(), clock }
        } else {
            Self::Tokio { start }
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> Moment {
        NonZeroU64::MIN.saturating_add(match self {
            Self::Counter { clock, start } => clock.delta_as_nanos(*start, clock.raw()),
            Self::Tokio { start } => nanos(start.elapsed()),
        })
    }
}

#[cfg(all(test, not(micro_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_is_followed() {
        let clock = Clock::new();
        let before = clock.now().get();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(clock.now().get() - before, 60_000_000_000);
    }

    #[tokio::test]
    async fn a_clock_that_runs_is_told_from_a_paused_one_and_never_goes_back() {
        let clock = Clock::new();
        assert!(matches!(clock, Clock::Counter { .. }));
        let times: Vec<_> = (0..1_000).map(|_| clock.now()).collect();
        assert!(times.is_sorted());
    }
}
