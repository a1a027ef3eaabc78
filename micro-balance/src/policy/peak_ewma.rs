//! The endpoint expected to answer sooner of two.

use std::time::Duration;

use super::{Context, Policy, Timing, Turnover};
use crate::{
    clock::Moment,
    endpoint::Endpoint,
    ewma::{Rate, nanos},
};

/// One pick in so many goes to an endpoint that has not been heard of for a while, if there is one.
const EXPLORE: u64 = 128;
/// How many endpoints are looked at for it.
const DRAWS: usize = 8;
/// For how long an endpoint must have been silent for it, in nanoseconds.
const SILENT: u64 = 100_000_000;
/// The load of an endpoint that never answered and is asked already: it gets one request until it does.
const UNKNOWN: f32 = 1e15;

/// Draws two endpoints and takes the one expected to answer sooner: its latency, which remembers peaks,
/// times the requests it would have in flight. The default.
///
/// For nearly everything: a server that slows down or fails gets less within a few requests. Among servers
/// that are all alike it gains nothing over [`LeastRequest`](super::LeastRequest).
///
/// A failure counts as an answer after the penalty, so an endpoint that fails fast gets next to nothing. One
/// that has been avoided is tried again: fewer than one request in a hundred looks after such endpoints, and
/// the estimate follows as soon as a quarter of a second of answers are all far better than it.
/// After Finagle's, <https://twitter.github.io/finagle/guide/Clients.html#p2c-peak-ewma>.
#[derive(Clone, Debug)]
#[must_use]
pub struct PeakEwma {
    timing: Timing,
    rate: Rate,
}

impl PeakEwma {
    /// A decay of 10 s, 30 ms for an endpoint not heard of yet, a penalty of 5 s.
    pub fn new() -> Self {
        let timing = Timing {
            decay: Duration::from_secs(10),
            default_latency: Duration::from_millis(30),
            penalty: Duration::from_secs(5),
            recovers: true,
        };
        Self { rate: Rate::of(timing.decay), timing }
    }

    /// The time after which a sample counts for a third (1/e) of what it did.
    pub fn decay(mut self, decay: Duration) -> Self {
        self.timing.decay = decay.max(Duration::from_millis(1));
        self.rate = Rate::of(self.timing.decay);
        self
    }

    /// What an endpoint is taken to need before its first answer.
    pub fn default_latency(mut self, latency: Duration) -> Self {
        self.timing.default_latency = latency;
        self
    }

    /// What a failure is taken to have needed, at least.
    pub fn penalty(mut self, penalty: Duration) -> Self {
        self.timing.penalty = penalty;
        self
    }

    /// Follows the textbook alone: no looking after avoided endpoints, no faster recovery.
    pub fn classic(mut self) -> Self {
        self.timing.recovers = false;
        self
    }

    /// The expected time of one more request at `endpoint`, in nanoseconds.
    #[inline]
    fn cost(&self, endpoint: &Endpoint, now: u64, warmth: f32) -> f32 {
        self.cold_cost(endpoint, now) / warmth
    }

    #[inline]
    fn cold_cost(&self, endpoint: &Endpoint, now: u64) -> f32 {
        let stats = endpoint.stats();
        let pending = stats.in_flight() as f32;
        match stats.latency().value(now, self.rate) {
            Some(latency) => latency * (pending + 1.0),
            None if pending > 0.0 => UNKNOWN + pending * (UNKNOWN / 1024.0),
            None => nanos(self.timing.default_latency) as f32,
        }
    }

    /// The endpoint that has been silent longest of a few, idle and silent long enough to be asked again.
    fn neglected(&self, endpoints: &[Endpoint], now: u64, context: &Context<'_>) -> Option<usize> {
        (0..DRAWS)
            .map(|_| context.chance.below(endpoints.len()))
            .filter_map(|index| {
                let stats = endpoints.get(index)?.stats();
                let age = stats.latency().age(now);
                (age > SILENT && stats.in_flight() == 0).then_some((age, index))
            })
            .max()
            .map(|(_, index)| index)
    }
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self::new()
    }
}

/// Which part of its weight each endpoint has; nothing, unless some start slowly.
#[derive(Clone, Debug)]
pub struct Warmth(Option<Box<[f32]>>);

impl Warmth {
    fn of(endpoints: &[Endpoint]) -> Self {
        let cold = endpoints.iter().any(|endpoint| endpoint.warmth() < 1.0);
        Self(cold.then(|| endpoints.iter().map(|endpoint| endpoint.warmth() as f32).collect()))
    }

    #[inline]
    fn of_index(&self, index: usize) -> f32 {
        match &self.0 {
            None => 1.0,
            Some(warmth) => warmth.get(index).copied().unwrap_or(1.0),
        }
    }
}

impl Policy for PeakEwma {
    type Table = Warmth;

    fn table(&self, endpoints: &[Endpoint]) -> Warmth {
        Warmth::of(endpoints)
    }

    fn update(&self, before: &Warmth, turnover: &Turnover<'_>) -> Option<Warmth> {
        let warm = turnover.joined().all(|(_, endpoint)| endpoint.warmth() == 1.0);
        (before.0.is_none() && warm).then_some(Warmth(None))
    }

    #[inline]
    fn pick(&self, warmth: &Warmth, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        if endpoints.len() < 2 {
            return Some(0);
        }
        let (first, second) = context.chance.two_below(endpoints.len());
        let (a, b) = (endpoints.get(first)?, endpoints.get(second)?);
        let now = context.now.map_or(0, Moment::get);
        if self.timing.recovers
            && context.attempt == 0
            && context.chance.next().is_multiple_of(EXPLORE)
            && let Some(neglected) = self.neglected(endpoints, now, context)
        {
            return Some(neglected);
        }
        let cost = |index, endpoint| self.cost(endpoint, now, warmth.of_index(index));
        Some(if cost(second, b) < cost(first, a) { second } else { first })
    }

    fn timing(&self) -> Option<Timing> {
        Some(self.timing.clone())
    }
}
