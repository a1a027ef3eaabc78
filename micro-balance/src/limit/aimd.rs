//! Additive increase, multiplicative decrease.

use std::time::Duration;

use super::algorithm::{Algorithm, Sample};
use crate::saturating::within;

/// One more for each answer while at least half of the limit is used, a tenth less for each failure: TCP's
/// rule, with the defaults of Netflix' concurrency-limits.
#[derive(Clone, Debug)]
#[must_use]
pub struct Aimd {
    limit: u32,
    min: u32,
    max: u32,
    ratio: f64,
    timeout: Duration,
}

impl Default for Aimd {
    fn default() -> Self {
        Self { limit: 20, min: 20, max: 200, ratio: 0.9, timeout: Duration::from_secs(5) }
    }
}

impl Aimd {
    /// The limit to begin with, but for its range. 20 unless given.
    pub fn initial(mut self, limit: u32) -> Self {
        self.limit = limit.max(1);
        self
    }

    /// The limit stays within these. 20 and 200 unless given.
    pub fn range(mut self, min: u32, max: u32) -> Self {
        (self.min, self.max) = (min.max(1), max.max(min.max(1)));
        self
    }

    /// What is left of the limit after a failure, within 0.5 to 1. 0.9 unless given.
    pub fn backoff_ratio(mut self, ratio: f64) -> Self {
        self.ratio = within(ratio, 0.5, 1.0);
        self
    }

    /// An answer that takes longer is a failure. 5 s unless given.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Algorithm for Aimd {
    fn limit(&self) -> u32 {
        self.limit.clamp(self.min, self.max)
    }

    fn update(&mut self, sample: Sample) -> u32 {
        if sample.dropped || sample.latency > self.timeout {
            self.limit = (f64::from(self.limit) * self.ratio) as u32;
        } else if sample.in_flight.saturating_mul(2) >= self.limit {
            self.limit = self.limit.saturating_add(1);
        }
        self.limit = self.limit.clamp(self.min, self.max);
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn table() -> Value {
        let table = include_str!("../../tests/data/concurrency_limits.json");
        serde_json::from_str::<Value>(table).unwrap()["aimd"].take()
    }

    #[test]
    fn the_rows_of_netflix_come_out() {
        let sample = |in_flight, dropped| Sample { latency: Duration::from_millis(1), in_flight, dropped };
        for row in table()["cases"].as_array().unwrap() {
            let number = |name: &str| row[name].as_u64().map(|number| number as u32);
            let mut aimd = Aimd::default().initial(number("initial").unwrap());
            if let (Some(min), Some(max)) = (number("min"), number("max")) {
                aimd = aimd.range(min, max);
            }
            let dropped = row["drop"].as_bool().unwrap_or_default();
            let in_flight = number("inflight").unwrap_or_default();
            assert_eq!(Some(aimd.update(sample(in_flight, dropped))), number("out"), "{row}");
        }
        let late = Sample { latency: Duration::from_secs(6), in_flight: 0, dropped: false };
        assert_eq!(Aimd::default().initial(30).update(late), 27);
        assert_eq!(Aimd::default().initial(100).update(sample(49, false)), 100, "not used");
        assert_eq!(Aimd::default().initial(100).update(sample(50, false)), 101, "half used");
    }

    #[test]
    fn the_defaults_are_those_of_netflix() {
        let (Aimd { limit, min, max, ratio, timeout }, table) = (Aimd::default(), table());
        let ours = [limit.into(), min.into(), max.into(), ratio, timeout.as_secs_f64()];
        let names = ["initial", "min", "max", "backoff_ratio", "timeout_s"];
        assert_eq!(ours, names.map(|name| table["defaults"][name].as_f64().unwrap()));
        let ratios = [0.1, 0.7, 3.0].map(|ratio| Aimd::default().backoff_ratio(ratio).ratio);
        assert_eq!((ratios, table["defaults"]["ratio_range"].as_str()), ([0.5, 0.7, 1.0], Some("[0.5,1.0)")));
    }

    #[test]
    fn an_answer_that_takes_longer_than_is_wanted_is_a_failure() {
        for (timeout, limit) in [(Duration::from_secs(1), 90), (Duration::from_secs(2), 101)] {
            let mut aimd = Aimd::default().initial(100).timeout(timeout);
            let sample = Sample { latency: Duration::from_millis(1_500), in_flight: 100, dropped: false };
            assert_eq!(aimd.update(sample), limit, "{timeout:?}");
        }
    }
}
