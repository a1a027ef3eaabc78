//! How long to wait before a retry: longer each time, and never in step with others.

use std::time::Duration;

use crate::{saturating::scale, setting::InvalidSetting};

/// The waits between attempts.
///
/// ```
/// use std::time::Duration;
/// use micro_balance::retry::{Backoff, Jitter};
///
/// let backoff = Backoff::exponential(Duration::from_millis(25), 2.0, Duration::from_millis(250))?;
/// assert_eq!(backoff.wait(1, 0.5), Duration::from_millis(25), "half of 50 ms");
/// assert_eq!(backoff.jitter(Jitter::None).wait(9, 0.5), Duration::from_millis(250));
/// # Ok::<(), micro_balance::InvalidSetting>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Backoff {
    growth: Growth,
    max: Duration,
    jitter: Jitter,
}

#[derive(Clone, Copy, Debug)]
enum Growth {
    Exponential { base: Duration, factor: f64 },
    Linear { base: Duration, step: Duration },
    Custom(fn(u32) -> Duration),
}

/// How chance changes a wait `w`, <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Jitter {
    /// Exactly `w`.
    None,
    /// Anything from nothing to `w`, as Envoy does.
    Full,
    /// From half of `w` to `w`, as Finagle does.
    Equal,
    /// From `w * (1 - f)` to `w * (1 + f)`, as gRPC does with 0.2.
    Around(f64),
    /// From `w` to `w * (1 + f)` or the longest wait, as tower does with 0.99.
    Above(f64),
}

impl Default for Backoff {
    /// 25 ms, doubled up to 250 ms, with full jitter.
    fn default() -> Self {
        Self::exponential(Duration::from_millis(25), 2.0, Duration::from_millis(250))
            .expect("the defaults are within the limits")
    }
}

impl Backoff {
    /// Waits `base`, then `factor` times as long each time, up to `max`; with full jitter.
    ///
    /// # Errors
    ///
    /// When `base` is zero or exceeds `max`, or `factor` is not a number from 1 on.
    pub fn exponential(base: Duration, factor: f64, max: Duration) -> Result<Self, InvalidSetting> {
        if !(factor.is_finite() && factor >= 1.0) {
            return Err(InvalidSetting::new("the factor of a back-off", factor, "at least 1"));
        }
        if base.is_zero() || base > max {
            return Err(InvalidSetting::new(
                "the first wait of a back-off",
                base,
                "more than 0 and at most the last",
            ));
        }
        Ok(Self { growth: Growth::Exponential { base, factor }, max, jitter: Jitter::Full })
    }

    /// Waits `base`, then `step` longer each time, up to `max`; without jitter.
    pub fn linear(base: Duration, step: Duration, max: Duration) -> Self {
        Self { growth: Growth::Linear { base, step }, max, jitter: Jitter::None }
    }

    /// Waits `wait` each time, without jitter.
    pub fn constant(wait: Duration) -> Self {
        Self::linear(wait, Duration::ZERO, wait)
    }

    /// Waits what `wait` says of the number of the retry, counted from 0; without jitter.
    pub fn custom(wait: fn(u32) -> Duration) -> Self {
        Self { growth: Growth::Custom(wait), max: Duration::MAX, jitter: Jitter::None }
    }

    /// Replaces the jitter.
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// The wait before retry number `retry`, counted from 0; `random` is uniform in `0.0..1.0`.
    pub fn wait(&self, retry: u32, random: f64) -> Duration {
        let whole = self.whole(retry);
        match self.jitter {
            Jitter::None => whole,
            Jitter::Full => scale(whole, random),
            Jitter::Equal => scale(whole, 0.5 + 0.5 * random),
            Jitter::Around(part) => scale(whole, 1.0 - part + 2.0 * part * random),
            Jitter::Above(part) => scale(whole, 1.0 + part * random).min(self.max),
        }
    }

    /// The wait before retry number `retry` as it is without jitter.
    pub fn whole(&self, retry: u32) -> Duration {
        match self.growth {
            Growth::Exponential { base, factor } => scale(base, factor.powi(retry.min(1 << 20) as i32)),
            Growth::Linear { base, step } => base.saturating_add(step.saturating_mul(retry)),
            Growth::Custom(wait) => wait(retry),
        }
        .min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn exponential(base: u64, max: u64) -> Backoff {
        Backoff::exponential(ms(base), 2.0, ms(max)).unwrap()
    }

    /// `data/policies/backoff.json`: the interval is a random number modulo the whole wait.
    #[test]
    fn full_jitter_gives_the_intervals_of_envoys_tests() {
        for (base, max, random, expected) in
            [(25, 30, 27, &[2, 27][..]), (5, 100, 9999, &[4, 9, 19, 39, 79, 99, 99]), (26, 260, 27, &[1])]
        {
            let backoff = exponential(base, max);
            let waits: Vec<_> = (0..expected.len() as u32)
                .map(|retry| {
                    let whole = backoff.whole(retry).as_millis() as u64;
                    backoff.wait(retry, (random % whole) as f64 / whole as f64).as_micros().div_ceil(1000)
                        as u64
                })
                .collect();
            assert_eq!(waits, expected);
        }
    }

    /// `data/policies/backoff.json`, `envoy_lower_bound`: the base, and a random number modulo half of it.
    #[test]
    fn a_wait_with_a_lower_bound_is_that_of_envoys_tests() {
        let backoff = exponential(500, 10_000).jitter(Jitter::Above(0.5));
        for (random, expected) in [(22, 522), (9999, 749)] {
            let wait = backoff.wait(0, f64::from(random % 250) / 250.0);
            assert_eq!(wait.as_micros().div_ceil(1000), expected);
        }
    }

    #[test]
    fn grpcs_windows_are_a_fifth_around_the_wait() {
        let backoff = exponential(100, 1000).jitter(Jitter::Around(0.2));
        for (retry, low, high) in [(0, 80, 120), (1, 160, 240), (2, 320, 480), (3, 640, 960), (4, 800, 1200)]
        {
            assert_eq!(backoff.wait(retry, 0.0).as_micros(), low * 1000);
            assert_eq!(backoff.wait(retry, 1.0).as_micros(), high * 1000);
        }
        let connection = Backoff::exponential(ms(1000), 1.6, Duration::from_secs(120)).unwrap();
        for (retry, nominal) in [1.0, 1.6, 2.56, 4.096, 6.5536, 10.48576].into_iter().enumerate() {
            assert!((connection.whole(retry as u32).as_secs_f64() - nominal).abs() < 1e-6);
        }
        assert_eq!(connection.whole(11), Duration::from_secs(120));
    }

    #[test]
    fn finagles_sequences_come_out() {
        let sequence = |backoff: Backoff| {
            (0..5).map(|n| backoff.jitter(Jitter::None).wait(n, 0.7).as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(sequence(exponential(2, 1000)), [2, 4, 8, 16, 32]);
        assert_eq!(sequence(exponential(2, 15)), [2, 4, 8, 15, 15]);
        assert_eq!(sequence(Backoff::linear(ms(7), ms(10), Duration::MAX)), [7, 17, 27, 37, 47]);
        assert_eq!(sequence(Backoff::linear(ms(9), ms(30), ms(99))), [9, 39, 69, 99, 99]);
        assert_eq!(sequence(Backoff::constant(ms(3))), [3; 5]);
        let equal = exponential(100, 800).jitter(Jitter::Equal);
        assert_eq!((equal.wait(1, 0.0), equal.wait(1, 1.0)), (ms(100), ms(200)));
    }

    #[test]
    fn towers_jitter_stays_under_the_longest_wait() {
        let backoff = exponential(50, 70).jitter(Jitter::Above(0.99));
        assert_eq!(backoff.wait(0, 0.2), Duration::from_micros(59_900));
        assert_eq!(backoff.wait(0, 0.9), ms(70));
        // With its own limit, which is none that anybody waits for.
        let endless = exponential(50, u64::MAX).jitter(Jitter::Above(0.99));
        assert_eq!((endless.wait(3, 0.0), endless.wait(3, 1.0)), (ms(400), ms(796)));
    }

    #[test]
    fn go_micros_waits_are_a_function_of_the_attempt() {
        let v1 = Backoff::custom(|n| if n == 0 { Duration::ZERO } else { ms(10_u64.saturating_pow(n)) });
        let waits: Vec<_> = (0..5).map(|n| v1.wait(n, 0.5).as_millis()).collect();
        assert_eq!(waits, [0, 10, 100, 1000, 10_000]);
        // To the power of e, in tenths of a second, two minutes at most.
        let v6 = Backoff::custom(|n| {
            let tenths = f64::from(n).powf(std::f64::consts::E) as u64;
            ms(if n > 13 { 120_000 } else { tenths * 100 })
        });
        let waits: Vec<_> = [0, 1, 2, 3, 4, 5, 14].map(|n| v6.wait(n, 0.5).as_millis()).into();
        assert_eq!(waits, [0, 100, 600, 1900, 4300, 7900, 120_000]);
    }

    #[test]
    fn no_attempt_number_overflows() {
        for jitter in [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Around(2.0), Jitter::Above(1e300)] {
            let backoff = Backoff::exponential(ms(1), 1e300, Duration::MAX).unwrap().jitter(jitter);
            for retry in [0, 1, 63, 64, 1 << 30, u32::MAX] {
                let _ = backoff.wait(retry, 0.999);
            }
        }
        assert_eq!(exponential(25, 250).whole(u32::MAX), ms(250));
        assert!(Backoff::exponential(ms(0), 2.0, ms(1)).is_err());
        assert!(Backoff::exponential(ms(2), 2.0, ms(1)).is_err());
        assert!(Backoff::exponential(ms(1), f64::NAN, ms(1)).is_err());
    }
}
