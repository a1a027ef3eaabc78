//! How long to wait before an endpoint is connected again.

use std::time::Duration;

/// Waits between attempts to connect: 1 s, then 1.6 times as long each time up to 2 s, each wait between
/// half of that and one and a half.
///
/// The limit is low because an attempt costs a packet, and an endpoint that is back is wanted back: its
/// share of requests must not wait for a long back-off to end. The wide spread keeps many clients that lost
/// an endpoint together from coming back together. An endpoint announced anew is connected at once.
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
        let grown = self.min.as_secs_f64() * 1.6_f64.powi(failures.saturating_sub(1).min(64) as i32);
        Duration::from_secs_f64(grown.min(self.max.as_secs_f64()) * (0.5 + random))
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
        assert_eq!(reconnect.wait(1, 0.0).as_millis(), 500);
    }
}
