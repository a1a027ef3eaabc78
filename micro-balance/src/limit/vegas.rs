//! Keeps the queue in front of a service short.

use std::time::Duration;

use super::algorithm::{Algorithm, Sample};
use crate::{chance::Chance, saturating::within};

/// Estimates how many requests wait from how much slower than the fastest answers are, and keeps that
/// between `alpha` and `beta`: TCP Vegas, with the defaults of Netflix' concurrency-limits.
#[derive(Clone, Debug)]
#[must_use]
pub struct Vegas {
    limit: f64,
    max: u32,
    alpha: Option<u32>,
    beta: Option<u32>,
    smoothing: f64,
    decrease: fn(f64) -> f64,
    /// The fastest answer since the last probe; zero before the first.
    fastest: Duration,
    samples: f64,
    /// After how many samples for each request of the limit the fastest answer is forgotten.
    probe: f64,
    chance: Chance,
}

/// Samples for each request of the limit until the fastest answer is measured anew, times 0.5 to 1.
const PROBE: f64 = 30.0;

impl Default for Vegas {
    fn default() -> Self {
        Self {
            limit: 20.0,
            max: 1000,
            alpha: None,
            beta: None,
            smoothing: 1.0,
            decrease: |limit| limit - log10(limit),
            fastest: Duration::ZERO,
            samples: 0.0,
            probe: PROBE,
            chance: Chance::new(fastrand::u64(..)),
        }
    }
}

impl Vegas {
    /// The limit to begin with, but for the highest. 20 unless given.
    pub fn initial(mut self, limit: u32) -> Self {
        self.limit = f64::from(limit.max(1));
        self
    }

    /// The limit never exceeds this. 1000 unless given.
    pub fn max(mut self, max: u32) -> Self {
        self.max = max.max(1);
        self
    }

    /// With fewer requests waiting the limit grows. Three times its decimal logarithm unless given.
    pub fn alpha(mut self, alpha: u32) -> Self {
        self.alpha = Some(alpha);
        self
    }

    /// With more requests waiting the limit falls. Six times its decimal logarithm unless given.
    pub fn beta(mut self, beta: u32) -> Self {
        self.beta = Some(beta);
        self
    }

    /// How much of a change is made at once, within 0 to 1. 1 unless given.
    pub fn smoothing(mut self, smoothing: f64) -> Self {
        self.smoothing = within(smoothing, 0.0, 1.0);
        self
    }

    /// How the limit falls. By its decimal logarithm unless given.
    pub fn decrease(mut self, decrease: fn(f64) -> f64) -> Self {
        self.decrease = decrease;
        self
    }

    /// Makes the times of probing repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.chance = Chance::new(seed);
        self.draw_probe();
        self
    }

    fn draw_probe(&mut self) {
        // Spread out, so that the clients of a service do not all probe at once.
        self.probe = PROBE * (0.5 + 0.5 * self.chance.fraction());
        self.samples = 0.0;
    }

    /// Where the limit should go, or `None` to leave it.
    fn aim(&self, sample: Sample) -> Option<f64> {
        if sample.dropped {
            return Some((self.decrease)(self.limit));
        }
        if f64::from(sample.in_flight) * 2.0 < self.limit {
            return None;
        }
        let logarithm = log10(self.limit);
        let alpha = self.alpha.map_or(3.0 * logarithm, f64::from);
        let beta = self.beta.map_or(6.0 * logarithm, f64::from);
        let waiting = (self.limit * (1.0 - self.fastest.as_secs_f64() / sample.latency.as_secs_f64())).ceil();
        if waiting <= logarithm {
            Some(self.limit + beta)
        } else if waiting < alpha {
            Some(self.limit + logarithm)
        } else if waiting > beta {
            Some((self.decrease)(self.limit))
        } else {
            None
        }
    }
}

impl Algorithm for Vegas {
    fn limit(&self) -> u32 {
        (self.limit as u32).clamp(1, self.max)
    }

    fn update(&mut self, sample: Sample) -> u32 {
        self.limit = self.limit.min(f64::from(self.max));
        self.samples += 1.0;
        if self.samples >= self.probe * self.limit {
            self.draw_probe();
            self.fastest = sample.latency;
        } else if self.fastest.is_zero() || sample.latency < self.fastest {
            self.fastest = sample.latency;
        } else if let Some(aim) = self.aim(sample) {
            let aim = aim.clamp(1.0, f64::from(self.max));
            self.limit = (1.0 - self.smoothing) * self.limit + self.smoothing * aim;
        }
        self.limit()
    }
}

/// The whole part of the decimal logarithm, at least 1.
fn log10(limit: f64) -> f64 {
    limit.log10().floor().max(1.0)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn table() -> Value {
        let table = include_str!("../../tests/data/concurrency_limits.json");
        serde_json::from_str::<Value>(table).unwrap()["vegas"].take()
    }

    #[test]
    fn the_rows_of_netflix_come_out() {
        for row in table()["cases"].as_array().unwrap() {
            let cfg = &row["cfg"];
            let number = |value: &Value| value.as_u64().unwrap() as u32;
            let mut vegas = Vegas::default().initial(number(&cfg["init"])).max(number(&cfg["max"]));
            if let (Some(alpha), Some(beta)) = (cfg["alpha"].as_u64(), cfg["beta"].as_u64()) {
                vegas = vegas.alpha(alpha as u32).beta(beta as u32);
            }
            if let Some(rule) = cfg["decrease"].as_str() {
                assert_eq!(rule, "x/2");
                vegas = vegas.decrease(|limit| limit / 2.0);
            }
            vegas = cfg["smoothing"].as_f64().map_or(vegas.clone(), |part| vegas.smoothing(part));
            for (sample, limit) in
                row["samples"].as_array().unwrap().iter().zip(row["limits"].as_array().unwrap())
            {
                let latency = Duration::from_millis(sample[0].as_u64().unwrap());
                let sample = Sample { latency, in_flight: number(&sample[1]), dropped: false };
                assert_eq!(vegas.update(sample), number(limit), "{row}");
            }
        }
    }

    #[test]
    fn the_defaults_are_those_of_netflix() {
        let (vegas, table) = (Vegas::default(), table());
        let table = &table["defaults"];
        let ours = [vegas.limit().into(), vegas.max.into(), vegas.smoothing, PROBE];
        let names = ["initial", "max", "smoothing", "probe_multiplier"];
        assert_eq!(ours, names.map(|name| table[name].as_f64().unwrap()));
        // The logarithm of 100 is 2: grows under a queue of 6 by 2, at most 2 by 12, falls over 12 by 2.
        let grown = |waiting: f64| {
            let mut vegas = Vegas::default().initial(100);
            let sample = |latency| Sample { latency, in_flight: 100, dropped: false };
            vegas.update(sample(Duration::from_secs(1)));
            vegas.update(sample(Duration::from_secs_f64(1.0 / (1.0 - waiting / 100.0))))
        };
        assert_eq!([1.5, 2.5, 5.5, 11.5, 12.5].map(grown), [112, 102, 100, 100, 98]);
    }

    #[test]
    fn who_uses_less_than_half_of_the_limit_says_nothing_about_it() {
        let mut vegas = Vegas::default().initial(100);
        let mut after = |ms, in_flight| {
            vegas.update(Sample { latency: Duration::from_millis(ms), in_flight, dropped: false })
        };
        assert_eq!([after(10, 100), after(10, 49), after(90, 49), after(10, 50)], [100, 100, 100, 112]);
    }

    #[test]
    fn after_it_was_measured_anew_the_fastest_answer_counts_for_as_long_again() {
        let mut vegas = Vegas::default().initial(10).max(10).seed(1);
        let sample = |ms| Sample { latency: Duration::from_millis(ms), in_flight: 1, dropped: false };
        vegas.update(sample(1));
        let measured = |vegas: &mut Vegas| {
            (1..).find(|_| {
                vegas.update(sample(5));
                vegas.fastest == Duration::from_millis(5)
            })
        };
        assert!(measured(&mut vegas).is_some_and(|samples| (149..=300).contains(&samples)));
        vegas.update(sample(1));
        assert!(measured(&mut vegas).is_some_and(|samples| (148..=300).contains(&samples)));
    }

    #[test]
    fn how_many_may_wait_is_what_is_wanted() {
        let after = |vegas: Vegas, waiting: f64| {
            let mut vegas = vegas.initial(100);
            let sample = |latency| Sample { latency, in_flight: 100, dropped: false };
            vegas.update(sample(Duration::from_secs(1)));
            vegas.update(sample(Duration::from_secs_f64(1.0 / (1.0 - waiting / 100.0))))
        };
        let narrow = || Vegas::default().alpha(3).beta(4);
        assert_eq!([1.5, 2.5, 3.5, 4.5].map(|waiting| after(narrow(), waiting)), [104, 100, 100, 98]);
    }

    #[test]
    fn the_times_at_which_clients_measure_anew_differ() {
        let probe = |seed| Vegas::default().seed(seed).probe;
        let all: Vec<_> = (0..100).map(probe).collect();
        let (least, most) = all.iter().fold((PROBE, 0.0_f64), |(a, b), &it| (a.min(it), b.max(it)));
        assert!((0.5..0.55).contains(&(least / PROBE)) && (0.95..=1.0).contains(&(most / PROBE)));
        assert_eq!(probe(7).total_cmp(&all[7]), std::cmp::Ordering::Equal);
    }

    #[test]
    fn a_failure_lowers_the_limit_and_never_under_one() {
        let mut vegas = Vegas::default().initial(2);
        let dropped = Sample { latency: Duration::from_millis(1), in_flight: 1, dropped: true };
        assert!((0..100).all(|_| vegas.update(dropped) >= 1));
        assert_eq!(vegas.limit(), 1);
    }

    #[test]
    fn the_fastest_answer_is_measured_anew_now_and_then() {
        let mut vegas = Vegas::default().initial(10).max(10).seed(1);
        let sample = |ms| Sample { latency: Duration::from_millis(ms), in_flight: 10, dropped: false };
        vegas.update(sample(1));
        // The service became slower for good: after a while that is what fast means.
        (0..300).for_each(|_| {
            vegas.update(sample(5));
        });
        assert_eq!(vegas.fastest, Duration::from_millis(5));
    }
}
