//! Sums up the samples of a while for an algorithm.

use std::time::Duration;

use tokio::time::Instant;

use super::algorithm::{Algorithm, Sample};

/// A window has at least so many samples, unless it has lasted ten times as long as it should.
const MIN_SAMPLES: u32 = 10;

/// Gives an algorithm one sample a window: the mean latency, the most requests at once, and whether any was
/// dropped. Single latencies are too noisy, and the rules were made for windows.
#[derive(Debug)]
pub(super) struct Learner {
    algorithm: Box<dyn Algorithm>,
    pub(super) window: Duration,
    began: Option<Instant>,
    count: u32,
    latency: Duration,
    in_flight: u32,
    dropped: bool,
}

impl Learner {
    pub(super) fn new(algorithm: Box<dyn Algorithm>) -> Self {
        Self {
            window: algorithm.window(),
            algorithm,
            began: None,
            count: 0,
            latency: Duration::ZERO,
            in_flight: 0,
            dropped: false,
        }
    }

    /// Takes a sample; gives the new limit when a window ends.
    pub(super) fn learn(&mut self, sample: Sample, now: Instant) -> Option<u32> {
        let began = *self.began.get_or_insert(now);
        self.count += 1;
        self.latency += sample.latency;
        self.in_flight = self.in_flight.max(sample.in_flight);
        self.dropped |= sample.dropped;
        let lasted = now.saturating_duration_since(began);
        let over = lasted >= self.window && (self.count >= MIN_SAMPLES || lasted >= self.window * 10);
        if !over {
            return None;
        }
        let window =
            Sample { latency: self.latency / self.count, in_flight: self.in_flight, dropped: self.dropped };
        (self.began, self.count, self.latency) = (Some(now), 0, Duration::ZERO);
        (self.in_flight, self.dropped) = (0, false);
        Some(self.algorithm.update(window).max(1))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Writes down what it is given.
    #[derive(Debug)]
    struct Notes(Arc<Mutex<Vec<Sample>>>);

    impl Algorithm for Notes {
        fn limit(&self) -> u32 {
            7
        }

        fn update(&mut self, sample: Sample) -> u32 {
            self.0.lock().unwrap().push(sample);
            0
        }

        fn window(&self) -> Duration {
            Duration::from_millis(100)
        }
    }

    #[test]
    fn a_window_has_ten_samples_or_lasts_ten_times_as_long_and_gives_their_mean_and_their_worst() {
        for (every_ms, ends_after) in [(1, 101), (20, 10), (300, 5)] {
            let notes = Arc::default();
            let mut learner = Learner::new(Box::new(Notes(Arc::clone(&notes))));
            let mut now = Instant::now();
            let mut learns = |latency, in_flight, dropped| {
                let latency = Duration::from_millis(latency);
                let limit = learner.learn(Sample { latency, in_flight, dropped }, now);
                now += Duration::from_millis(every_ms);
                limit
            };
            for place in 1..ends_after {
                let limit = learns(if place % 2 == 0 { 10 } else { 20 }, place, place == 2);
                assert_eq!(limit, None, "{place}, one in {every_ms} ms");
            }
            assert_eq!(learns(15, 1, false), Some(1), "no limit is none");
            let told = notes.lock().unwrap().pop().unwrap();
            assert_eq!((told.in_flight, told.dropped), (ends_after - 1, true));
            assert!(told.latency.abs_diff(Duration::from_millis(15)) < Duration::from_millis(1), "{told:?}");
            // The next begins with nothing of it.
            assert_eq!(learns(15, 1, false), None);
            let sample = Sample { latency: Duration::from_millis(15), in_flight: 1, dropped: false };
            assert_eq!(learner.learn(sample, now + Duration::from_secs(1)), Some(1));
            let told = notes.lock().unwrap().pop().unwrap();
            assert_eq!((told.latency, told.in_flight, told.dropped), (sample.latency, 1, false));
        }
    }
}
