//! Follows the ratio of usual to present latency.

use super::algorithm::{Algorithm, Sample};
use crate::saturating::within;

/// Lowers the limit as far as answers take longer than in the long run, and leaves room for a small queue:
/// Netflix' Gradient2, with its defaults.
///
/// The long run is 600 windows: an overload that lasts longer becomes what is usual, and the limit grows.
#[derive(Clone, Debug)]
#[must_use]
pub struct Gradient2 {
    limit: f64,
    min: u32,
    max: u32,
    smoothing: f64,
    queue: u32,
    tolerance: f64,
    long: Average,
}

impl Default for Gradient2 {
    fn default() -> Self {
        Self {
            limit: 20.0,
            min: 20,
            max: 200,
            smoothing: 0.2,
            queue: 4,
            tolerance: 1.5,
            long: Average::new(600, 10),
        }
    }
}

impl Gradient2 {
    /// The limit to begin with, but for its range. 20 unless given.
    pub fn initial(mut self, limit: u32) -> Self {
        self.limit = f64::from(limit.max(1));
        self
    }

    /// The limit stays within these. 20 and 200 unless given.
    pub fn range(mut self, min: u32, max: u32) -> Self {
        (self.min, self.max) = (min.max(1), max.max(min).max(1));
        self
    }

    /// How much of a change is made at once, within 0 to 1. 0.2 unless given.
    pub fn smoothing(mut self, smoothing: f64) -> Self {
        self.smoothing = within(smoothing, 0.0, 1.0);
        self
    }

    /// How many requests may wait. 4 unless given.
    pub fn queue(mut self, requests: u32) -> Self {
        self.queue = requests;
        self
    }

    /// How many times the usual latency is still usual, at least 1. 1.5 unless given.
    pub fn tolerance(mut self, times: f64) -> Self {
        self.tolerance = times.max(1.0);
        self
    }
}

impl Algorithm for Gradient2 {
    fn limit(&self) -> u32 {
        (self.limit as u32).clamp(self.min, self.max)
    }

    fn update(&mut self, sample: Sample) -> u32 {
        self.limit = self.limit.clamp(f64::from(self.min), f64::from(self.max));
        // An answer in no time at all has no ratio to anything.
        let short = sample.latency.as_secs_f64().max(1e-9);
        let long = self.long.add(short);
        if long / short > 2.0 {
            // The service became much faster: what was usual under load is forgotten sooner.
            self.long.value *= 0.95;
        }
        if f64::from(sample.in_flight) < self.limit / 2.0 {
            return self.limit();
        }
        let gradient = (self.tolerance * long / short).clamp(0.5, 1.0);
        let aim = self.limit * gradient + f64::from(self.queue);
        let smoothed = self.limit * (1.0 - self.smoothing) + aim * self.smoothing;
        self.limit = smoothed.clamp(f64::from(self.min), f64::from(self.max));
        self.limit()
    }
}

/// Exponential average that begins as the mean of its first samples.
#[derive(Clone, Debug)]
struct Average {
    window: f64,
    warmup: u32,
    count: u32,
    sum: f64,
    value: f64,
}

impl Average {
    fn new(window: u32, warmup: u32) -> Self {
        Self { window: f64::from(window), warmup, count: 0, sum: 0.0, value: 0.0 }
    }

    fn add(&mut self, sample: f64) -> f64 {
        if self.count < self.warmup {
            self.count += 1;
            self.sum += sample;
            self.value = self.sum / f64::from(self.count);
        } else {
            let factor = 2.0 / (self.window + 1.0);
            self.value = self.value * (1.0 - factor) + sample * factor;
        }
        self.value
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;

    fn table(name: &str) -> Value {
        let table = include_str!("../../tests/data/concurrency_limits.json");
        serde_json::from_str::<Value>(table).unwrap()[name].take()
    }

    #[test]
    fn the_average_begins_as_a_mean() {
        let table = table("exp_avg");
        let list = |name: &str| table[name].as_array().unwrap().iter().map(|n| n.as_f64().unwrap());
        let number = |name: &str| table[name].as_f64().unwrap();
        let mut average = Average::new(number("window") as u32, number("warmup") as u32);
        assert!(list("inputs").map(|input| average.add(input)).eq(list("outputs")));
        assert!((average.add(100.0) - number("then_100")).abs() < 1e-4);
    }

    #[test]
    fn the_defaults_are_those_of_netflix() {
        let Gradient2 { limit, min, max, smoothing, queue, tolerance, long } = Gradient2::default();
        let ours = [limit, min.into(), max.into(), smoothing, queue.into(), tolerance, long.window];
        let names = ["initial", "min", "max", "smoothing", "queue_size", "rtt_tolerance", "long_window"];
        let table = &table("gradient2")["defaults"];
        assert_eq!(ours, names.map(|name| table[name].as_f64().unwrap()));
        assert_eq!(long.warmup, 10);
    }

    #[test]
    fn what_was_usual_is_forgotten_sooner_where_the_service_became_twice_as_fast() {
        let usual = |latency| {
            let mut gradient = Gradient2::default();
            (0..10).for_each(|_| {
                gradient.update(sample(100, 20));
            });
            gradient.update(sample(latency, 20));
            gradient.long.value
        };
        let step = |latency: f64| 0.1 + (latency - 0.1) * 2.0 / 601.0;
        assert!((usual(50) - step(0.05)).abs() < 1e-9, "twice is not more than twice");
        assert!((usual(40) - step(0.04) * 0.95).abs() < 1e-9);
    }

    fn sample(ms: u64, in_flight: u32) -> Sample {
        Sample { latency: Duration::from_millis(ms), in_flight, dropped: false }
    }

    #[test]
    fn the_limit_grows_by_the_queue_while_latency_is_usual() {
        let mut gradient = Gradient2::default();
        assert_eq!(gradient.update(sample(10, 20)), 20);
        assert!((gradient.limit - 20.8).abs() < 1e-9, "a fifth of 4");
        (0..1000).for_each(|_| {
            gradient.update(sample(10, 200));
        });
        assert_eq!(gradient.limit(), 200);
    }

    #[test]
    fn who_uses_less_than_half_of_the_limit_says_nothing_about_it_and_an_answer_in_no_time_nothing_wrong() {
        let mut gradient = Gradient2::default().initial(100);
        gradient.update(sample(10, 49));
        assert!((gradient.limit - 100.0).abs() < 1e-9);
        gradient.update(sample(10, 50));
        assert!((gradient.limit - 100.8).abs() < 1e-9, "{}", gradient.limit);
        gradient.update(sample(0, 60));
        assert!((gradient.limit - 101.6).abs() < 1e-9, "{}", gradient.limit);
        gradient.update(Sample { latency: Duration::ZERO, ..sample(0, 60) });
        assert!(gradient.limit.is_finite());
    }

    #[test]
    fn the_limit_falls_when_latency_doubles_and_then_some() {
        let mut gradient = Gradient2::default().initial(100);
        (0..20).for_each(|_| {
            gradient.update(sample(10, 10));
        });
        assert_eq!(gradient.limit(), 100, "not used");
        gradient.update(sample(40, 100));
        // The gradient is 0.5, its floor: 100 * 0.8 + (100 * 0.5 + 4) * 0.2.
        assert!((gradient.limit - 90.8).abs() < 1e-9, "{}", gradient.limit);
        (0..50).for_each(|_| {
            gradient.update(sample(40, 100));
        });
        assert!((20..40).contains(&gradient.limit()));
    }

    #[test]
    fn changes_are_made_at_once_and_latency_tolerated_as_far_as_is_wanted() {
        let limit = |gradient: Gradient2, latency| {
            let mut gradient = gradient.initial(100);
            (0..20).for_each(|_| {
                gradient.update(sample(10, 10));
            });
            gradient.update(sample(latency, 100));
            gradient.limit
        };
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 0.5, "{found}, {expected}");
        near(limit(Gradient2::default().smoothing(1.0), 10), 104.0);
        near(limit(Gradient2::default().smoothing(0.0), 40), 100.0);
        // Three times as long as usual is under twice as long as usual by a half of what is tolerated.
        near(limit(Gradient2::default().smoothing(1.0).tolerance(3.0), 30), 104.0);
        near(limit(Gradient2::default().smoothing(1.0).tolerance(2.0), 30), 100.0 * 2.0 / 3.0 + 4.0);
        near(limit(Gradient2::default().smoothing(1.0).tolerance(0.1), 10), 104.0);
    }
}
