//! Counts of requests, small enough to be sent.

use serde::{Deserialize, Serialize};

/// How many latencies are told apart: powers of the square root of two, from 1/16 ms up to a minute.
pub(super) const STEPS: usize = 40;

/// How many requests there were, how many of them failed, and how long they took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Count {
    /// Requests that ended.
    pub requests: u32,
    /// How many of them failed.
    pub failures: u32,
    /// How long they took together, in milliseconds.
    pub millis: f64,
    /// How many took about as long as each step of latency says; steps without any are left out.
    steps: Vec<(u8, u32)>,
}

impl Count {
    /// One more request.
    pub fn add(&mut self, ok: bool, millis: f64) {
        self.requests = self.requests.saturating_add(1);
        self.failures = self.failures.saturating_add(u32::from(!ok));
        self.millis += millis;
        let step = step(millis);
        match self.steps.iter_mut().find(|(known, _)| *known == step) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.steps.push((step, 1)),
        }
    }

    /// Latencies by their steps, each below [`STEPS`].
    pub(super) fn steps(&self) -> impl Iterator<Item = (usize, u32)> {
        // What came over a wire may say anything.
        self.steps.iter().take(STEPS).map(|(step, count)| (usize::from(*step).min(STEPS - 1), *count))
    }
}

fn step(millis: f64) -> u8 {
    let step = (millis.max(1.0 / 16.0) * 16.0).log2() * 2.0;
    (step as u8).min(STEPS as u8 - 1)
}

/// The middle of a step, in milliseconds.
pub(super) fn middle(step: usize) -> f64 {
    ((step as f64 + 0.5) / 2.0).exp2() / 16.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_has_a_step_near_it() {
        for millis in [0.07, 1.0, 9.0, 250.0, 30_000.0] {
            let middle = middle(usize::from(step(millis)));
            assert!((middle / millis).ln().abs() < 0.2, "{millis} is shown as {middle}");
        }
        for (millis, found) in [(-1.0, 0), (f64::NAN, 0), (f64::INFINITY, 39), (1e12, 39)] {
            assert_eq!(step(millis), found, "{millis}");
        }
    }
}
