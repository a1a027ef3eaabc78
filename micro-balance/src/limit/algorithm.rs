//! How many requests at once a service copes with, learnt from how it answers.

use std::{fmt::Debug, time::Duration};

/// What one request tells.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// From the call to the answer.
    pub latency: Duration,
    /// How many requests were under way when it began, with itself.
    pub in_flight: u32,
    /// It failed, or the service said that it cannot cope.
    pub dropped: bool,
}

/// Works out a limit from samples.
pub trait Algorithm: Debug + Send + 'static {
    /// The limit as it is, at least 1.
    fn limit(&self) -> u32;

    /// Takes a sample and gives the new limit, at least 1.
    fn update(&mut self, sample: Sample) -> u32;

    /// How long samples are summed up before it takes one of them all; with zero it takes each. 100 ms unless given,
    /// here or by [`LimitLayer::window`](super::LimitLayer::window).
    fn window(&self) -> Duration {
        Duration::from_millis(100)
    }
}
