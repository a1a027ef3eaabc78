//! The endpoint expected to answer sooner of two.

use std::time::Duration;

use super::{Context, Policy, Timing, Turnover};
use crate::{
    chance::Chance,
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
/// One pick in so many goes to the dearer of the two if that has not been heard of for a long while: where requests are
/// few, those that explore are too few to find out soon that it is well again.
const SECOND_LOOK: u64 = 16;
/// For how long an endpoint must have been silent for that, in nanoseconds.
const LONG_SILENT: u64 = 1_000_000_000;
/// The load of an endpoint that never answered and is asked already, in nanoseconds: it gets one request until it
/// does. As in Envoy, a million milliseconds and one for each request.
const UNKNOWN: f32 = 1e12;
const UNKNOWN_EACH: f32 = 1e6;
/// Latencies are told apart no finer than this, in nanoseconds: what a busy host adds to some of them.
const RESOLUTION: f32 = 1e6;
/// How many times the cost of the other an endpoint may have and still be taken for alike.
const ALIKE: f32 = 4.0 / 3.0;

/// Draws two endpoints and takes the one expected to answer sooner: its latency, which remembers peaks,
/// times the requests it would have in flight. The default.
///
/// For nearly everything: a server that slows down or fails gets less within a few requests. Among servers
/// that are all alike it does as [`LeastRequest`](super::LeastRequest): a millisecond is added to every latency, and costs
/// that then differ by less than a third are the noise of a host: the one with fewer requests in flight is taken.
///
/// A failure counts as an answer after the penalty, so an endpoint that fails fast gets next to nothing. One
/// that has been avoided is tried again: fewer than one request in a hundred looks after such endpoints, and
/// the estimate follows as soon as a quarter of a second of answers are all far better than it.
///
/// An endpoint that takes requests and answers none has no new latency. Its silence counts instead as soon as it is
/// longer, so that one that froze gets what comes within about one latency, and one more each five seconds. What waits is
/// a request without any answer: a body that goes on for hours is none.
///
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

    /// Follows the textbook alone: no looking after avoided endpoints, no faster recovery, and every difference counts.
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
            Some(latency) => (latency.max(self.silence(endpoint, now)) + self.resolution()) * (pending + 1.0),
            None if pending > 0.0 => UNKNOWN + pending * UNKNOWN_EACH,
            None => nanos(self.timing.default_latency) as f32 * stats.latency().untried(now, self.rate),
        }
    }

    /// For how long requests have waited there without any answer, in nanoseconds.
    #[inline]
    fn silence(&self, endpoint: &Endpoint, now: u64) -> f32 {
        // Signed, as that is one instruction and not a branch; it lasts for 292 years.
        if self.timing.recovers { endpoint.stats().silence(now) as i64 as f32 } else { 0.0 }
    }

    #[inline]
    fn resolution(&self) -> f32 {
        if self.timing.recovers { RESOLUTION } else { 0.0 }
    }

    /// Whether `second` is to be taken instead of `first`, given what they cost.
    #[inline]
    fn prefers_second(&self, (first, a): (f32, &Endpoint), (second, b): (f32, &Endpoint)) -> bool {
        let alike = self.timing.recovers && second < first * ALIKE && first < second * ALIKE;
        if alike { b.stats().is_less_busy(a.stats()) } else { second < first }
    }

    /// The endpoint that has been silent longest of a few, and long enough to be asked again.
    fn neglected(&self, endpoints: &[Endpoint], now: u64, chance: &Chance) -> Option<usize> {
        (0..DRAWS)
            .map(|_| chance.below(endpoints.len()))
            .filter_map(|index| {
                let endpoint = endpoints.get(index)?;
                is_silent(endpoint, now, SILENT).then(|| (endpoint.stats().latency().age(now), index))
            })
            .max()
            .map(|(_, index)| index)
    }
}

/// Whether it has not answered for so many nanoseconds, either for want of requests or as one waits in vain.
#[inline]
fn is_silent(endpoint: &Endpoint, now: u64, nanos: u64) -> bool {
    let stats = endpoint.stats();
    stats.latency().age(now) > nanos && (stats.in_flight() == 0 || stats.is_overdue(now))
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
    pub(super) fn of(endpoints: &[Endpoint]) -> Self {
        let cold = endpoints.iter().any(|endpoint| endpoint.warmth() < 1.0);
        Self(cold.then(|| endpoints.iter().map(|endpoint| endpoint.warmth() as f32).collect()))
    }

    #[inline]
    pub(super) fn of_index(&self, index: usize) -> f32 {
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
        let looks = self.timing.recovers && context.attempt == 0;
        let chance = if looks { context.chance.next() } else { 1 };
        if chance.is_multiple_of(EXPLORE)
            && let Some(neglected) = self.neglected(endpoints, now, context.chance)
        {
            return Some(neglected);
        }
        let cost = |index, endpoint| (self.cost(endpoint, now, warmth.of_index(index)), endpoint);
        let second_wins = self.prefers_second(cost(first, a), cost(second, b));
        let (winner, loser, other) = if second_wins { (second, first, a) } else { (first, second, b) };
        let again = chance.is_multiple_of(SECOND_LOOK) && is_silent(other, now, LONG_SILENT);
        Some(if again { loser } else { winner })
    }

    fn timing(&self) -> Option<Timing> {
        Some(self.timing.clone())
    }
}

#[cfg(all(test, not(micro_loom)))]
mod tests;
