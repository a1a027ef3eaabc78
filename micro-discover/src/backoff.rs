//! How long to wait before asking a failing registry again.

use std::time::Duration;

use fastrand::Rng;

/// Waits that double from `MIN` to a ceiling, each drawn at random from what it has grown to: exponential backoff
/// with jitter, <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
#[derive(Debug)]
pub(crate) struct Backoff {
    random: Rng,
    max: Duration,
    attempt: u32,
}

const MIN: Duration = Duration::from_millis(50);

impl Backoff {
    pub(crate) fn new(max: Duration, random: Rng) -> Self {
        Self { random, max: max.max(MIN), attempt: 0 }
    }

    /// The next wait, `MIN` to the ceiling.
    pub(crate) fn wait(&mut self) -> Duration {
        let grown = MIN.saturating_mul(2_u32.saturating_pow(self.attempt.saturating_add(1))).min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        MIN + (grown - MIN).mul_f64(self.random.f64())
    }

    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_ceiling_and_stay_within_their_bounds() {
        let max = Duration::from_secs(10);
        let mut backoff = Backoff::new(max, Rng::with_seed(7));
        let first = backoff.wait();
        assert!((MIN..=2 * MIN).contains(&first));
        let waits: Vec<_> = (0..10_000).map(|_| backoff.wait()).collect();
        assert!(waits.iter().all(|wait| (MIN..=max).contains(wait)));
        assert!(waits.iter().any(|wait| *wait > max / 2));
        backoff.reset();
        assert!(backoff.wait() <= 2 * MIN);
    }
}
