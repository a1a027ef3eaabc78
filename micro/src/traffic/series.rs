//! Figures in the forms that are shown.

use serde::Serialize;

use super::count::{STEPS, middle};
use super::window::SLOTS;

/// The last two minutes of one endpoint in slots of five seconds, oldest first, without the one under way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Series {
    /// Requests in each slot.
    pub requests: Vec<u32>,
    /// How many of them failed.
    pub failures: Vec<u32>,
    /// How long they took on average, in milliseconds.
    pub millis: Vec<f32>,
}

impl Default for Series {
    fn default() -> Self {
        let slots = SLOTS - 1;
        Self { requests: vec![0; slots], failures: vec![0; slots], millis: vec![0.0; slots] }
    }
}

/// The last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Figures {
    /// Requests that ended.
    pub requests: u64,
    /// How many of them failed.
    pub failures: u64,
    /// Half of them took no longer, in milliseconds, to a fifth.
    pub p50_ms: f64,
    /// Of a hundred, 99 took no longer, in milliseconds, to a fifth.
    pub p99_ms: f64,
}

/// A minute's counts.
#[derive(Clone, Debug)]
pub(super) struct Minute {
    pub(super) requests: u64,
    pub(super) failures: u64,
    pub(super) steps: [u64; STEPS],
}

impl Default for Minute {
    fn default() -> Self {
        Self { requests: 0, failures: 0, steps: [0; STEPS] }
    }
}

impl Figures {
    pub(super) fn of(minutes: impl IntoIterator<Item = Minute>) -> Self {
        let mut all = Minute::default();
        for minute in minutes {
            all.requests += minute.requests;
            all.failures += minute.failures;
            all.steps.iter_mut().zip(minute.steps).for_each(|(sum, step)| *sum += step);
        }
        Self {
            requests: all.requests,
            failures: all.failures,
            p50_ms: all.quantile(0.50),
            p99_ms: all.quantile(0.99),
        }
    }

    /// Requests in a second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / 60.0
    }

    /// The share of requests that failed, 0 to 1.
    pub fn error_share(&self) -> f64 {
        self.failures as f64 / self.requests.max(1) as f64
    }
}

impl Minute {
    /// The middle of the step that `share` of all requests are not above.
    fn quantile(&self, share: f64) -> f64 {
        let all: u64 = self.steps.iter().sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut below = 0;
        for (step, count) in self.steps.iter().enumerate() {
            below += count;
            if all > 0 && below >= wanted.max(1) {
                return middle(step);
            }
        }
        0.0
    }
}
