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
