//! The time, for the figures that every request writes.

use std::{
    num::NonZeroU64,
    sync::LazyLock,
    time::{self, Duration},
};

use tokio::time::Instant;

use crate::ewma::nanos;

/// A time in nanoseconds since a balancer was built: one word, and never 0, so that none fits in it as well.
pub(crate) type Moment = NonZeroU64;

/// The processor's counter. To ask the processor whether it has one takes a virtual machine as long as to answer a request, and
/// each connection has a clock.
static COUNTER: LazyLock<quanta::Clock> = LazyLock::new(quanta::Clock::new);

/// Tells how long it is since it was made, for what every request notes: in less than half of the time that the operating
/// system takes. A clone counts from the same moment. What another thread has read in between is later: subtract with saturation.
///
/// Follows Tokio's clock instead where a test has paused that before.
///
/// ```
/// let clock = micro_balance::Clock::new();
/// let began = clock.elapsed();
/// let took = clock.elapsed().saturating_sub(began);
/// # let _ = took;
/// ```
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// The processor's own counter where there is one to rely on. Asking the operating system twice would
    /// take longer than all the rest of a request here.
    Counter { clock: quanta::Clock, start: u64 },
    /// Tokio's clock, where it does not tell the real time: a test has paused it.
    Tokio { start: Instant },
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// One that counts from now on.
    pub fn new() -> Self {
        let before = time::Instant::now();
        let start = Instant::now();
        // A paused clock stands still, or was sent ahead.
        Self(if (before..=time::Instant::now()).contains(&start.into_std()) {
            let clock = COUNTER.clone();
            Source::Counter { start: clock.raw(), clock }
        } else {
            Source::Tokio { start }
        })
    }

    /// How long it is since this, or what it is a clone of, was made; never less than it was before.
    #[inline]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now().get() - 1)
    }

    #[inline]
    pub(crate) fn now(&self) -> Moment {
        NonZeroU64::MIN.saturating_add(match &self.0 {
            Source::Counter { clock, start } => clock.delta_as_nanos(*start, clock.raw()),
            Source::Tokio { start } => nanos(start.elapsed()),
        })
    }
}

#[cfg(all(test, not(micro_loom)))]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_is_followed() {
        let clock = Clock::new();
        let before = clock.now().get();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(clock.now().get() - before, 60_000_000_000);
        assert_eq!(clock.elapsed(), Duration::from_secs(60));
    }

    #[tokio::test]
    async fn a_clock_that_runs_is_told_from_a_paused_one_and_never_goes_back() {
        let clock = Clock::new();
        assert!(matches!(clock.0, Source::Counter { .. }));
        let times: Vec<_> = (0..1_000).map(|_| clock.now()).collect();
        assert!(times.is_sorted());
    }
}
