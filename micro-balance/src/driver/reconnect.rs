//! How long to wait before an endpoint is connected again.

use std::time::Duration;

/// Waits between attempts to connect: 1 s, then 1.6 times as long each time up to 2 s, each wait between
/// half of that and one and a half; the first between a quarter and seven quarters.
///
/// The limit is low because an attempt costs a packet, and an endpoint that is back is wanted back: its
/// share of requests must not wait for a long back-off to end. The wide spread keeps many clients that lost
/// an endpoint together from coming back together: of those who lost it at one moment, fewer than one in ten try in
/// any tenth of a second. An endpoint announced anew is connected at once.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Reconnect {
    min: Duration,
    max: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self { min: Duration::from_secs(1), max: Duration::from_secs(2) }
    }
}

impl Reconnect {
    /// Waits `min` first and at most `max`, which is raised to `min` if it is shorter.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min) }
    }

    /// The wait after failure number `failures` in a row, counted from 1; `random` is in `0.0..1.0`.
    pub(crate) fn wait(&self, failures: u32, random: f64) -> Duration {
        let before = failures.saturating_sub(1).min(64);
        let grown = self.min.as_secs_f64() * 1.6_f64.powi(before as i32);
        // Who lost it together is together only once.
        let spread = if before == 0 { 1.5 } else { 1.0 };
        Duration::from_secs_f64(grown.min(self.max.as_secs_f64()) * (1.0 + spread * (random - 0.5)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_spread_around_it() {
        let reconnect = Reconnect::new(Duration::from_secs(1), Duration::from_secs(4));
        let waits: Vec<_> = [1, 2, 3, 4, 99].map(|n| reconnect.wait(n, 0.5).as_millis()).into();
        assert_eq!(waits, [1000, 1600, 2560, 4000, 4000]);
        assert_eq!([1, 2].map(|n| reconnect.wait(n, 0.0).as_millis()), [250, 800]);
    }

    #[test]
    fn of_a_thousand_that_lost_it_together_fewer_than_a_tenth_try_within_a_tenth_of_a_second() {
        let (reconnect, mut chance) = (Reconnect::default(), fastrand::Rng::with_seed(26));
        let mut attempts = Vec::new();
        for _ in 0..1000 {
            let mut at = Duration::ZERO;
            for failure in 1..6 {
                at += reconnect.wait(failure, chance.f64());
                attempts.push(at);
            }
        }
        attempts.sort_unstable();
        let most = attempts
            .iter()
            .enumerate()
            .map(|(from, at)| attempts.partition_point(|it| *it < *at + Duration::from_millis(100)) - from)
            .max();
        assert!(most < Some(100), "{most:?}");
    }
}
