//! How long to wait before asking a failing registry again.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

/// Waits of less than a second, and of up to a sixtieth of how long the trouble has lasted when that is more.
///
/// What comes back soon is noticed within a second, by no more than two calls in each; what is gone for hours is asked
/// rarely. The first wait is anything up to a second, so that all those who lost a registry in one moment do not come
/// back to it in one moment; from then on half of each wait is drawn at random: "equal jitter" of
/// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
#[derive(Debug)]
pub(crate) struct Backoff {
    random: Rng,
    max: Duration,
    since: Option<Instant>,
}

const MIN: Duration = Duration::from_millis(50);
const SOON: Duration = Duration::from_millis(900);
const SHARE: u32 = 60;

impl Backoff {
    /// Waits end at `max`, however long the trouble lasts.
    pub(crate) fn new(max: Duration, random: Rng) -> Self {
        Self { random, max: max.max(MIN), since: None }
    }

    /// The next wait. The trouble began with the first one.
    pub(crate) fn wait(&mut self) -> Duration {
        let now = Instant::now();
        let Some(since) = self.since else {
            self.since = Some(now);
            return self.between(MIN, SOON.min(self.max));
        };
        let most = ((now - since) / SHARE).max(SOON).min(self.max);
        self.between((most / 2).max(MIN), most)
    }

    /// The trouble is over.
    pub(crate) fn reset(&mut self) {
        self.since = None;
    }

    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + (most - least).mul_f64(self.random.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn trouble_is_over_soon_after_it_ends_and_old_trouble_is_asked_about_rarely() {
        let max = Duration::from_secs(10);
        let mut backoff = Backoff::new(max, Rng::with_seed(7));
        let start = Instant::now();
        let mut calls = 0;
        while start.elapsed() < Duration::from_secs(50) {
            let wait = backoff.wait();
            assert!((MIN..=SOON).contains(&wait), "{wait:?}");
            tokio::time::advance(wait).await;
            calls += 1;
        }
        assert!((50..=110).contains(&calls), "{calls}");
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!((0..100).map(|_| backoff.wait()).all(|wait| (max / 2..=max).contains(&wait)));
        backoff.reset();
        assert!(backoff.wait() <= SOON);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_fail_together_do_not_come_back_together() {
        let mut tenths = [0; 10];
        for seed in 0..1_000 {
            let wait = Backoff::new(Duration::from_secs(10), Rng::with_seed(seed)).wait();
            tenths[usize::try_from(wait.as_millis() / 100).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|tenth| *tenth < 160), "{tenths:?}");
    }
}
