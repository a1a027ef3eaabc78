//! How long to wait before an endpoint is connected again.

use std::time::Duration;

use crate::{chance::Chance, saturating::scale};

/// Waits between attempts to connect: about 2 s, spread so that many clients that lost an endpoint together do
/// not come back together.
///
/// Who loses a connection tries at once, then waits. Where other endpoints take the requests meanwhile, the first
/// wait is anything up to the limit and later ones are from three quarters of it on, so that the share of an
/// endpoint that is back is back within that time. Where nobody is left, each wait is between half and one and
/// a half of the limit: there callers notice the loss one after another, and the attempts of those who did must not
/// pile up on the attempts of those who do. Either way fewer than one in ten of a thousand clients try in any tenth
/// of a second. The limit is low because an attempt costs a packet. An endpoint announced anew is connected at once.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Reconnect {
    min: Duration,
    max: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self::new(Duration::from_secs(2), Duration::from_secs(2))
    }
}

impl Reconnect {
    /// Limits the first wait by `min`, at least a millisecond, and each by 1.6 times as much as the one before up to `max`,
    /// which is raised to `min` if it is shorter.
    pub fn new(min: Duration, max: Duration) -> Self {
        let min = min.max(Duration::from_millis(1));
        Self { min, max: max.max(min) }
    }

    /// The wait after failure number `failures` in a row, counted from 1, where `others` are ready or not.
    pub(crate) fn wait(&self, failures: u32, others: bool, chance: &Chance) -> Duration {
        let before = failures.saturating_sub(1).min(64);
        let limit = scale(self.min, 1.6_f64.powi(before as i32)).min(self.max);
        let random = chance.fraction();
        let part = match (others, before) {
            (false, _) => 0.5 + random,
            // What is left of a wait that began at any moment, and is more likely a long one: attempts then are
            // as frequent from the first moment on as they are in the long run.
            (true, 0) => chance.fraction() * (0.75_f64.powi(2) + random * (1.0 - 0.75_f64.powi(2))).sqrt(),
            (true, _) => 0.75 + 0.25 * random,
        };
        scale(limit, part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most attempts that fall within a tenth of a second, of a thousand clients that lose an endpoint for ten
    /// seconds and notice it at any moment of the first `noticed` seconds.
    fn most(others: bool, noticed: f64) -> usize {
        let (reconnect, chance) = (Reconnect::default(), Chance::new(26));
        let mut attempts = Vec::new();
        for _ in 0..1000 {
            let mut at = Duration::from_secs_f64(noticed * chance.fraction());
            if noticed > 0.0 {
                attempts.push(at);
            }
            for failure in 1..10 {
                at += reconnect.wait(failure, others, &chance);
                attempts.push(at);
            }
        }
        attempts.sort_unstable();
        let within = |from: usize, at: &Duration| {
            attempts.partition_point(|it| *it < *at + Duration::from_millis(100)) - from
        };
        attempts.iter().enumerate().map(|(from, at)| within(from, at)).max().unwrap_or(0)
    }

    #[test]
    fn waits_grow_to_the_limit_and_spread_around_it() {
        let (reconnect, chance) =
            (Reconnect::new(Duration::from_secs(1), Duration::from_secs(4)), Chance::new(1));
        for (failures, limit) in [(1, 1.0), (2, 1.6), (3, 2.56), (4, 4.0), (99, 4.0)] {
            let wait = |others| reconnect.wait(failures, others, &chance).as_secs_f64() / limit;
            let waits: Vec<_> = (0..1000).map(|_| wait(false)).collect();
            assert!(waits.iter().all(|wait| (0.5..=1.5).contains(wait)), "{waits:?}");
            let waits: Vec<_> = (0..1000).map(|_| wait(true)).collect();
            let least = if failures == 1 { 0.0 } else { 0.75 };
            assert!(waits.iter().all(|wait| (least..=1.0).contains(wait)), "{waits:?}");
        }
    }

    #[test]
    fn of_a_thousand_that_lost_it_together_fewer_than_a_tenth_try_within_a_tenth_of_a_second() {
        let most = [most(false, 2.0), most(false, 3.0), most(false, 0.0), most(true, 0.0)];
        assert!(most.iter().all(|&most| most < 100), "{most:?}");
    }
}
