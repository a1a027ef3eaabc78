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
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
mod tests {
    use std::sync::{Arc, Weak};

    use serde_json::Value;

    use super::*;
    use crate::{
        Ejection,
        classify::Fault,
        endpoint::About,
        settings::Settings,
        stats::{Home, Stats},
    };

    fn table() -> Value {
        serde_json::from_str(include_str!("../../tests/data/peak_ewma.json")).unwrap()
    }

    fn endpoint(policy: &PeakEwma) -> Endpoint {
        let settings = Settings::new(policy.timing(), Ejection::default());
        let (reports, _) = tokio::sync::mpsc::unbounded_channel();
        let stats =
            Arc::new(Stats::new(1, "a".into(), Home::new(settings.into(), reports, Weak::<()>::new())));
        stats.latency().reset(0);
        Endpoint::new(About::new(crate::Attributes::default()), stats)
    }

    fn millis(millis: f64) -> Duration {
        Duration::from_secs_f64(millis / 1e3)
    }

    fn record(policy: &PeakEwma, endpoint: &Endpoint, took: Duration, now: u64) {
        endpoint.stats().latency().record(nanos(took), now, policy.rate, false);
    }

    /// Within a thousandth: a tick of the clock, and what is left of a number in 32 bits.
    fn near(cost: f64, expected: f64) -> bool {
        (cost - expected).abs() <= expected * 1e-3
    }

    /// `data/policies/peak_ewma.json`, `envoy_cost`: milliseconds.
    #[test]
    fn costs_are_those_of_envoys_tests() {
        let policy = PeakEwma::new().default_latency(Duration::from_millis(10)).classic();
        for row in table()["envoy_cost"].as_array().unwrap() {
            let endpoint = endpoint(&policy);
            if let Some(took) = row["rtt"].as_f64() {
                record(&policy, &endpoint, millis(took), 0);
            }
            (0..row["requests"].as_u64().unwrap()).for_each(|_| endpoint.stats().start());
            let (cost, expected) =
                (f64::from(policy.cold_cost(&endpoint, 0)) / 1e6, row["cost"].as_f64().unwrap());
            assert!((cost - expected).abs() < 0.1, "{cost} instead of {expected}: {row}");
        }
    }

    /// `data/policies/peak_ewma.json`, `tower_test`: nanoseconds.
    #[test]
    fn costs_follow_those_of_towers_tests_through_time() {
        for (_, test) in table()["tower_test"].as_object().unwrap() {
            let policy = PeakEwma::new()
                .decay(Duration::from_secs(test["decay_s"].as_u64().unwrap()))
                .default_latency(millis(test["default_rtt_ms"].as_f64().unwrap()))
                .classic();
            let endpoint = endpoint(&policy);
            for step in test["steps"].as_array().unwrap() {
                let now = step["t_ms"].as_u64().unwrap() * 1_000_000;
                match step["event"].as_str().unwrap_or_default() {
                    "" => {}
                    event if event.contains("completes") => {
                        record(&policy, &endpoint, Duration::from_millis(200), now);
                        endpoint.stats().finish();
                    }
                    _ => endpoint.stats().start(),
                }
                let cost = f64::from(policy.cold_cost(&endpoint, now));
                let bounds = |key: &str| step[key].as_f64();
                let within = step["cost_ns_between"].as_array().is_none_or(|list| {
                    let [from, to] = [0, 1].map(|at| list[at].as_f64().unwrap());
                    (from..=to).contains(&cost)
                });
                let holds = bounds("cost_ns_eq").is_none_or(|it| near(cost, it))
                    && bounds("cost_ns_gt").is_none_or(|it| cost > it)
                    && bounds("cost_ns_lt").is_none_or(|it| cost < it)
                    && within;
                assert!(holds, "{cost} at {step}");
            }
        }
    }

    /// `data/policies/peak_ewma.json`, `linkerd`: seconds.
    #[test]
    fn loads_and_the_penalty_are_linkerds() {
        let table = &table()["linkerd"];
        for row in table["tests"].as_array().unwrap() {
            let latency = row["default_rtt_ms"].as_f64().map_or(Duration::from_millis(30), millis);
            let policy = PeakEwma::new().default_latency(latency).classic();
            let endpoint = endpoint(&policy);
            if let Some(took) = row["rtt_s"].as_f64() {
                record(&policy, &endpoint, Duration::from_secs_f64(took), 0);
            }
            if row["status"].is_u64() {
                endpoint.stats().failed(Fault::Gateway, None, Some(crate::clock::Moment::MIN));
            }
            (0..row["pending"].as_u64().unwrap_or_default()).for_each(|_| endpoint.stats().start());
            let load = f64::from(policy.cold_cost(&endpoint, 0)) / 1e9;
            let holds = row["load"].as_f64().is_none_or(|it| near(load, it))
                && row["load_gt"].as_f64().is_none_or(|it| load > it);
            assert!(holds, "{load} at {row}");
        }
        let penalty = &table["penalty"];
        let policy = PeakEwma::new().classic();
        let finagle: Value = serde_json::from_str(include_str!("../../tests/data/finagle.json")).unwrap();
        for decay in [&self::table()["finagle"]["decay_s"], &finagle["peak_ewma"]["decay_s"]] {
            assert_eq!(*decay, policy.timing.decay.as_secs());
        }
        assert_eq!(policy.timing.default_latency, millis(table["profile_default_rtt_ms"].as_f64().unwrap()));
        assert_eq!(policy.timing.decay, Duration::from_secs(table["decay_s"].as_u64().unwrap()));
        let base = millis(penalty["base_ms"].as_f64().unwrap());
        assert_eq!(policy.timing.penalty, base);
        let endpoint = endpoint(&policy);
        record(&policy, &endpoint, base, 0);
        let load = f64::from(policy.cold_cost(&endpoint, 10_000_000_000)) / 1e9;
        assert!(near(load, penalty["decay_5s_after_10s"].as_f64().unwrap()), "{load}");
    }
}
