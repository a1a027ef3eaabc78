//! Additive increase, multiplicative decrease.

use std::time::Duration;

use super::algorithm::{Algorithm, Sample};

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
    /// The limit to begin with. 20 unless given.
    pub fn initial(mut self, limit: u32) -> Self {
        self.limit = limit.max(1);
        self
    }

    /// The limit stays within these. 20 and 200 unless given.
    pub fn range(mut self, min: u32, max: u32) -> Self {
        (self.min, self.max) = (min.max(1), max.max(min).max(1));
        self
    }

    /// What is left of the limit after a failure, within 0.5 to 1. 0.9 unless given.
    pub fn backoff_ratio(mut self, ratio: f64) -> Self {
        self.ratio = ratio.clamp(0.5, 1.0);
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
        self.limit
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
    use super::*;

    /// `data/policies/concurrency_limits.json`, `aimd`.
    #[test]
    fn the_rows_of_netflix_come_out() {
        let sample = |in_flight, dropped| Sample { latency: Duration::from_millis(1), in_flight, dropped };
        assert_eq!(Aimd::default().update(sample(10, false)), 21);
        assert_eq!(Aimd::default().initial(30).update(sample(0, true)), 27);
        assert_eq!(Aimd::default().initial(21).range(0, 21).update(sample(10, false)), 21);
        let late = Sample { latency: Duration::from_secs(6), in_flight: 0, dropped: false };
        assert_eq!(Aimd::default().initial(30).update(late), 27);
        assert_eq!(Aimd::default().initial(100).update(sample(49, false)), 100, "not used");
        assert_eq!(Aimd::default().initial(100).update(sample(50, false)), 101, "half used");
    }

    #[test]
    fn the_defaults_are_those_of_netflix() {
        let Aimd { limit, min, max, ratio, timeout } = Aimd::default();
        assert_eq!((limit, min, max, ratio, timeout), (20, 20, 200, 0.9, Duration::from_secs(5)));
        let ratios = [0.1, 0.7, 3.0].map(|ratio| Aimd::default().backoff_ratio(ratio).ratio);
        assert_eq!(ratios, [0.5, 0.7, 1.0]);
    }
}
