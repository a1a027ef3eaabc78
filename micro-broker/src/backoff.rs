//! How long to wait before trying again.

use std::time::Duration;

/// Waits that double from `min` up to `max`, each lengthened by up to a fifth at random so that many waiting
/// subscribers or connections do not return in one wave:
/// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// Waits from `min` to `max`; a `max` below `min` counts as `min`.
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max }
    }

    /// The wait after attempt number `attempt`, counted from 1. `random` is uniform in `0.0..1.0`.
    pub fn wait(&self, attempt: u32, random: f64) -> Duration {
        let grown = self.min.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
        grown.min(self.max.max(self.min)).mul_f64(1.0 + random / 5.0)
    }
}

/// 100 ms, doubling up to 30 s.
impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(30))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        let waits: Vec<_> = (1..=4).map(|attempt| backoff.wait(attempt, 0.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 350, 350]);
        assert_eq!(backoff.wait(1, 1.0), Duration::from_millis(120));
        assert_eq!(backoff.wait(u32::MAX, 0.0), Duration::from_millis(350));
    }
}
