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
    Decorrelated { base: Duration },
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

    /// Waits `base`, then anything from `base` to three times the last wait, up to `max`, as Finagle does.
    ///
    /// # Errors
    ///
    /// When `base` is zero or exceeds `max`.
    pub fn decorrelated(base: Duration, max: Duration) -> Result<Self, InvalidSetting> {
        let Self { max, .. } = Self::exponential(base, 1.0, max)?;
        Ok(Self { growth: Growth::Decorrelated { base }, max, jitter: Jitter::None })
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

    /// The wait before retry number `retry`, counted from 0; `random` is uniform in `0.0..1.0`. Of decorrelated waits those
    /// before it are taken to have been the longest.
    pub fn wait(&self, retry: u32, random: f64) -> Duration {
        self.wait_after(retry.checked_sub(1).map(|last| self.whole(last)).unwrap_or_default(), retry, random)
    }

    /// The same, where the wait before was `last`.
    pub fn wait_after(&self, last: Duration, retry: u32, random: f64) -> Duration {
        let whole = match self.growth {
            Growth::Decorrelated { base } if retry > 0 => {
                let most = last.saturating_mul(3).min(self.max);
                base + scale(most.saturating_sub(base), random)
            }
            _ => self.whole(retry),
        };
        match self.jitter {
            Jitter::None => whole,
            Jitter::Full => scale(whole, random),
            Jitter::Equal => scale(whole, 0.5 + 0.5 * random),
            Jitter::Around(part) => scale(whole, 1.0 - part + 2.0 * part * random),
            Jitter::Above(part) => scale(whole, 1.0 + part * random).min(self.max),
        }
    }

    /// The wait before retry number `retry` as it is without jitter, or the longest there may be.
    pub fn whole(&self, retry: u32) -> Duration {
        match self.growth {
            Growth::Exponential { base, factor } => scale(base, factor.powi(retry.min(1 << 20) as i32)),
            Growth::Decorrelated { base } => scale(base, 3.0_f64.powi(retry.min(1 << 20) as i32)),
            Growth::Linear { base, step } => base.saturating_add(step.saturating_mul(retry)),
            Growth::Custom(wait) => wait(retry),
        }
        .min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn exponential(base: u64, max: u64) -> Backoff {
        Backoff::exponential(ms(base), 2.0, ms(max)).unwrap()
    }

    fn table() -> Value {
        serde_json::from_str(include_str!("../../tests/data/backoff.json")).unwrap()
    }

    fn list(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    }

    fn number(value: &Value) -> u64 {
        value.as_u64().unwrap()
    }

    /// The first waits in milliseconds; `random` is one of Envoy's, a whole number of which the rest is taken.
    fn envoys(backoff: &Backoff, random: u64, count: usize) -> Vec<f64> {
        let wait = |retry| {
            let whole = backoff.whole(retry).as_millis() as u64;
            backoff.wait(retry, (random % whole) as f64 / whole as f64).as_micros().div_ceil(1000) as f64
        };
        (0..count as u32).map(wait).collect()
    }

    /// The interval is a random number modulo the whole wait.
    #[test]
    fn full_jitter_gives_the_intervals_of_envoys_tests() {
        for row in table()["envoy_jittered_exponential"].as_array().unwrap() {
            let random = number(&row["random"]);
            match row["reset_base"].as_u64() {
                Some(base) => {
                    assert_eq!(
                        envoys(&exponential(base, 10 * base), random, 1),
                        [row["first"].as_f64().unwrap()]
                    );
                }
                None => {
                    let expected = list(&row["seq_ms"]);
                    let backoff = exponential(number(&row["base"]), number(&row["max"]));
                    assert_eq!(envoys(&backoff, random, expected.len()), expected, "{row}");
                }
            }
        }
    }

    /// The base, and a random number modulo half of it.
    #[test]
    fn a_wait_with_a_lower_bound_is_that_of_envoys_tests() {
        for row in table()["envoy_lower_bound"].as_array().unwrap() {
            let (base, random) = (number(&row["base"]), number(&row["random"]));
            let backoff = exponential(base, 20 * base).jitter(Jitter::Above(0.5));
            let wait = backoff.wait(0, (random % (base / 2)) as f64 / (base / 2) as f64);
            assert_eq!(wait.as_micros().div_ceil(1000), u128::from(number(&row["ms"])));
        }
    }

    #[test]
    fn grpcs_windows_are_a_fifth_around_the_wait() {
        let table = table();
        let example = &table["grpc_retry"]["example"];
        let seconds = |key: &str| Duration::from_secs_f64(example[key].as_f64().unwrap());
        let factor = example["multiplier"].as_f64().unwrap();
        let backoff = Backoff::exponential(seconds("initial_s"), factor, seconds("max_s")).unwrap();
        let backoff = backoff.jitter(Jitter::Around(0.2));
        for (retry, window) in (0..).zip(example["windows_s"].as_array().unwrap()) {
            let ends = [0.0, 1.0].map(|random| backoff.wait(retry, random).as_secs_f64());
            assert!(list(window).iter().zip(ends).all(|(expected, end)| (expected - end).abs() < 1e-9));
        }
        let connection = &table["grpc_connection"];
        let seconds = |key: &str| Duration::from_secs_f64(connection[key].as_f64().unwrap());
        let factor = connection["multiplier"].as_f64().unwrap();
        let backoff = Backoff::exponential(seconds("base_s"), factor, seconds("max_s")).unwrap();
        for (retry, nominal) in (0..).zip(list(&connection["nominal_s"])) {
            assert!((backoff.whole(retry).as_secs_f64() - nominal).abs() < 1e-6);
        }
        assert_eq!(backoff.whole(11), seconds("max_s"));
    }

    #[test]
    fn finagles_sequences_come_out() {
        let table = &table()["finagle"];
        for (name, backoff) in [
            ("exponential_2ms_x2", exponential(2, 1000)),
            ("exponential_2ms_x2_max15", exponential(2, 15)),
            ("linear_7_plus10", Backoff::linear(ms(7), ms(10), Duration::MAX)),
            ("linear_9_plus30_max99", Backoff::linear(ms(9), ms(30), ms(99))),
        ] {
            let backoff = backoff.jitter(Jitter::None);
            let waits: Vec<_> = (0..5).map(|n| backoff.wait(n, 0.7).as_millis() as f64).collect();
            assert_eq!(waits, list(&table[name]), "{name}");
        }
        // Its rules with chance, at both ends of it.
        for (rule, backoff, low, high) in [
            ("exponential_jittered", exponential(100, 800), 0, 200),
            ("equal_jitter", exponential(100, 800).jitter(Jitter::Equal), 100, 200),
        ] {
            assert!(table[rule].is_string());
            assert_eq!((backoff.wait(1, 0.0), backoff.wait(1, 1.0)), (ms(low), ms(high)), "{rule}");
        }
        assert_eq!((0..5).map(|n| Backoff::constant(ms(3)).wait(n, 0.7)).collect::<Vec<_>>(), [ms(3); 5]);
    }

    #[test]
    fn a_decorrelated_wait_is_from_the_first_to_thrice_the_last() {
        assert_eq!(table()["finagle"]["decorrelated"], "next in [start, min(max,3*prev))");
        let backoff = Backoff::decorrelated(ms(10), ms(200)).unwrap();
        assert_eq!(backoff.wait_after(ms(99), 0, 0.9), ms(10), "it begins with the first");
        for (last, low, high) in [(10, 10, 30), (25, 10, 75), (66, 10, 198), (67, 10, 200), (200, 10, 200)] {
            let ends = [0.0, 1.0].map(|random| backoff.wait_after(ms(last), 1, random));
            assert_eq!(ends, [ms(low), ms(high)], "after {last} ms");
        }
        let longest: Vec<_> = (0..5).map(|retry| backoff.wait(retry, 1.0).as_millis()).collect();
        assert_eq!(longest, [10, 30, 90, 200, 200]);
        assert!(Backoff::decorrelated(ms(0), ms(1)).is_err() && Backoff::decorrelated(ms(2), ms(1)).is_err());
    }

    #[test]
    fn towers_jitter_stays_under_the_longest_wait() {
        let table = &table()["tower_default"];
        let (min, part) = (number(&table["min_ms"]), table["jitter"].as_f64().unwrap());
        let backoff = exponential(min, 70).jitter(Jitter::Above(part));
        assert_eq!(backoff.wait(0, 0.2), Duration::from_micros(59_900));
        assert_eq!(backoff.wait(0, 0.9), ms(70));
        // With its own limit, which is none that anybody waits for.
        let endless = exponential(min, u64::MAX).jitter(Jitter::Above(part));
        assert_eq!((endless.wait(3, 0.0), endless.wait(3, 1.0)), (ms(400), ms(796)));
    }

    #[test]
    fn go_micros_waits_are_a_function_of_the_attempt() {
        let v1 = Backoff::custom(|n| if n == 0 { Duration::ZERO } else { ms(10_u64.saturating_pow(n)) });
        // To the power of e, in tenths of a second, two minutes at most.
        let v6 = Backoff::custom(|n| {
            let tenths = f64::from(n).powf(std::f64::consts::E) as u64;
            ms(if n > 13 { 120_000 } else { tenths * 100 })
        });
        for (name, backoff) in [("gomicro_v1", v1), ("gomicro_v6", v6)] {
            for (attempt, wait) in table()[name]["ms"].as_object().unwrap() {
                assert_eq!(backoff.wait(attempt.parse().unwrap(), 0.5), ms(number(wait)), "{name} {attempt}");
            }
        }
        assert_eq!(v6.wait(14, 0.5), ms(120_000));
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
