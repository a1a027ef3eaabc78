//! When to ask the API server again.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::failure::{Failure, Kind};

/// Waits as client-go does: 0.8 s, doubling to 30 s, with jitter, back to the start after 2 minutes of health.
#[derive(Debug)]
pub(super) struct Retry {
    min: Duration,
    max: Duration,
    attempt: u32,
    random: Rng,
    healthy_since: Option<Instant>,
    failing_since: Option<Instant>,
    /// When an ended watch, an expired version and a refused token last did not wait.
    at_once: [Option<Instant>; 3],
}

const HEALTH: Duration = Duration::from_secs(120);
/// How long a server that is not there is asked often: it restarts.
const RESTART: Duration = Duration::from_secs(60);
const AT_ONCE_AGAIN: Duration = Duration::from_secs(5);

impl Retry {
    pub(super) fn new(min: Duration, max: Duration, random: Rng) -> Self {
        Self { min, max, attempt: 0, random, healthy_since: None, failing_since: None, at_once: [None; 3] }
    }

    /// The server does what it is asked.
    pub(super) fn healthy(&mut self) {
        self.healthy_since.get_or_insert_with(Instant::now);
        self.failing_since = None;
    }

    /// The wait after a stream that ended without a word: none, unless that happens often.
    pub(super) fn ended(&mut self) -> Duration {
        match self.at_once(0) {
            true => Duration::ZERO,
            false => self.grown(),
        }
    }

    /// The wait after `failure`.
    pub(super) fn failed(&mut self, failure: &Failure) -> Duration {
        let free = match failure.kind {
            Kind::Expired => self.at_once(1),
            Kind::Unauthorized => self.at_once(2),
            _ => false,
        };
        if free {
            return Duration::ZERO;
        }
        let failing = self.failing_since.get_or_insert_with(Instant::now).elapsed();
        let wait = match failure.kind {
            Kind::Unreachable if failing < RESTART => self.jittered(self.min),
            Kind::Forbidden => self.grown().max(self.min * 8).min(self.max),
            _ => self.grown(),
        };
        wait.max(failure.retry_after.unwrap_or_default())
    }

    fn at_once(&mut self, why: usize) -> bool {
        let free = self.at_once[why].is_none_or(|last| last.elapsed() >= AT_ONCE_AGAIN);
        if free {
            self.at_once[why] = Some(Instant::now());
        }
        free
    }

    fn grown(&mut self) -> Duration {
        if self.healthy_since.take().is_some_and(|since| since.elapsed() >= HEALTH) {
            self.attempt = 0;
        }
        let grown = self.min.saturating_mul(2_u32.saturating_pow(self.attempt)).min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        self.jittered(grown)
    }

    fn jittered(&mut self, wait: Duration) -> Duration {
        wait.mul_f64(0.5 + 0.5 * self.random.f64())
    }
}
