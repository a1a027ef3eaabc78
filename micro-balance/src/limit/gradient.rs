//! Follows the ratio of the latency without load to the present one.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    algorithm::{Algorithm, Sample},
    recent::Recent,
};
use crate::{
    chance::Chance,
    saturating::{end, scale, within},
};

/// After so many windows in a row at the lowest limit the latency without load is measured anew: it may be wrong.
const AT_LEAST: u32 = 5;

/// Measures now and then how long answers take while next to nothing is let through, and lowers the limit as far as
/// they take longer than that: Envoy's gradient, with its defaults.
///
/// Each `interval` the limit becomes `limit * gradient + √(limit * gradient)`, where the gradient is
/// `fastest * (1 + buffer) / present` within 0.5 and 2:
/// <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/adaptive_concurrency_filter>.
/// It begins at the lowest limit, for as many requests as it takes to measure `fastest`, which goes on until they have
/// come. What failed tells nothing: a service that fails fast is not a fast one.
///
/// Unlike [`Gradient2`](super::Gradient2) it does not take for usual what lasts; the price is that every `probe` holds
/// back requests for a moment. It grows to the most it may be while few come, so that a rush finds it there: a
/// [`range`](Self::range) that the service would survive is worth a thought.
#[derive(Clone, Debug)]
#[must_use]
pub struct Gradient {
    limit: u32,
    min: u32,
    max: u32,
    buffer: f64,
    percentile: f64,
    interval: Duration,
    probe: Probe,
    phase: Phase,
    recent: Recent,
    chance: Chance,
}

/// How the latency without load is found out.
#[derive(Clone, Copy, Debug)]
enum Probe {
    /// Of so many requests at the lowest limit, so often and up to a part of that later.
    Measured { requests: u32, every: Duration, jitter: f64 },
    /// It is known.
    Known(Duration),
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The latency without load is measured by what began since; then `limit` is in force again.
    Probing { since: Option<Instant>, limit: u32 },
    /// The limit follows.
    Following { fastest: Duration, window: Instant, probe: Option<Instant>, at_least: u32 },
}

impl Default for Gradient {
    fn default() -> Self {
        Self {
            limit: 3,
            min: 3,
            max: 1000,
            buffer: 0.25,
            percentile: 0.5,
            interval: Duration::from_millis(100),
            probe: Probe::Measured { requests: 50, every: Duration::from_secs(60), jitter: 0.15 },
            phase: Phase::Probing { since: None, limit: 3 },
            recent: Recent::default(),
            chance: Chance::new(fastrand::u64(..)),
        }
    }
}

impl Gradient {
    /// The limit stays within these, and begins with the lower one. 3 and 1000 unless given.
    pub fn range(mut self, min: u32, max: u32) -> Self {
        (self.min, self.max) = (min.max(1), max.max(min).max(1));
        self.limit = self.min;
        self.phase = Phase::Probing { since: None, limit: self.min };
        self
    }

    /// Which part of the latency without load answers may take longer. 0.25 unless given.
    pub fn buffer(mut self, part: f64) -> Self {
        self.buffer = part.max(0.0);
        self
    }

    /// Which of the latencies of a while counts, within 0 to 1. 0.5, their median, unless given.
    pub fn percentile(mut self, part: f64) -> Self {
        self.percentile = within(part, 0.0, 1.0);
        self
    }

    /// How often the limit is worked out. 100 ms unless given.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The latency without load is that of so many `requests`, measured so often, up to a part `jitter` of that later.
    /// 50, 60 s and 0.15 unless given.
    pub fn probe(mut self, requests: u32, every: Duration, jitter: f64) -> Self {
        self.probe = Probe::Measured { requests, every, jitter: within(jitter, 0.0, 1.0) };
        self
    }

    /// The latency without load is known, and never measured.
    pub fn fastest(mut self, latency: Duration) -> Self {
        self.probe = Probe::Known(latency);
        self
    }

    /// Makes the times of probing repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.chance = Chance::new(seed);
        self
    }

    fn learn(&mut self, sample: Sample, now: Instant) {
        match self.phase {
            Phase::Probing { since, limit } => self.probed(sample, now, since, limit),
            Phase::Following { probe: Some(at), .. } if now >= at => self.begin_probe(now),
            Phase::Following { fastest, window, probe, at_least } if now >= window => {
                let at_least = self.follow(fastest, at_least);
                if at_least >= AT_LEAST && probe.is_some() {
                    return self.begin_probe(now);
                }
                self.phase = Phase::Following { fastest, window: end(now, self.interval), probe, at_least };
                self.add(sample);
            }
            Phase::Following { .. } => self.add(sample),
        }
    }

    fn add(&mut self, sample: Sample) {
        if !sample.dropped {
            self.recent.add(sample.latency);
        }
    }

    fn begin_probe(&mut self, now: Instant) {
        self.phase = Phase::Probing { since: Some(now), limit: self.limit };
        self.limit = self.min;
        self.recent.clear();
    }

    /// Takes a sample of the latency without load; what began under load is none.
    fn probed(&mut self, sample: Sample, now: Instant, since: Option<Instant>, limit: u32) {
        if since.is_none_or(|since| sample.latency <= now.saturating_duration_since(since)) {
            self.add(sample);
        }
        let (fastest, probe) = match self.probe {
            Probe::Known(fastest) => (fastest, None),
            Probe::Measured { requests, .. } if self.recent.count() < requests.max(1) as usize => return,
            Probe::Measured { every, jitter, .. } => {
                // Spread out, so that the clients of a service do not all probe at once.
                let next = scale(every, 1.0 + jitter * self.chance.fraction());
                (self.recent.take(self.percentile).unwrap_or_default(), Some(end(now, next)))
            }
        };
        self.limit = limit;
        self.phase = Phase::Following { fastest, window: end(now, self.interval), probe, at_least: 0 };
    }

    /// Works the limit out of what was measured in a window; gives for how many it has been the lowest.
    fn follow(&mut self, fastest: Duration, at_least: u32) -> u32 {
        let Some(present) = self.recent.take(self.percentile) else { return at_least };
        // An answer in no time at all has no ratio to anything.
        let ratio = fastest.as_secs_f64() * (1.0 + self.buffer) / present.as_secs_f64().max(1e-9);
        let aim = f64::from(self.limit) * ratio.clamp(0.5, 2.0);
        let before = self.limit;
        self.limit = ((aim + aim.sqrt()) as u32).clamp(self.min, self.max);
        if before == self.min && self.limit == self.min { at_least + 1 } else { 0 }
    }
}

impl Algorithm for Gradient {
    fn limit(&self) -> u32 {
        self.limit
    }

    fn update(&mut self, sample: Sample) -> u32 {
        self.learn(sample, Instant::now());
        self.limit
    }

    fn window(&self) -> Duration {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A limiter and its clock.
    struct Run(Gradient, Instant);

    impl Run {
        fn new(gradient: Gradient) -> Self {
            Self(gradient.seed(1), Instant::now())
        }

        /// So many answers at once, each after so long.
        fn answers(&mut self, count: u32, millis: u32) -> u32 {
            let sample = Sample { latency: MS * millis, in_flight: 1, dropped: false };
            (0..count).for_each(|_| self.0.learn(sample, self.1));
            self.0.limit()
        }

        /// A window of such answers, and the limit it leads to: the first answer after it ends it.
        fn window(&mut self, millis: u32) -> u32 {
            self.answers(9, millis);
            self.1 += 100 * MS;
            self.answers(1, millis)
        }

        fn is_probing(&self) -> bool {
            matches!(self.0.phase, Phase::Probing { .. })
        }
    }

    #[test]
    fn the_defaults_are_those_of_envoy() {
        let table = include_str!("../../tests/data/concurrency_limits.json");
        let table = &serde_json::from_str::<Value>(table).unwrap()["envoy_gradient"]["defaults"];
        let Gradient { min, max, buffer, percentile, probe, .. } = Gradient::default();
        let Probe::Measured { requests, jitter, .. } = probe else { unreachable!("{probe:?}") };
        let ours = [buffer, percentile * 100.0, max.into()];
        let names = ["buffer", "sample_aggregate_percentile", "max_concurrency"];
        assert_eq!(ours, names.map(|name| table[name].as_f64().unwrap()));
        let ours = [requests.into(), jitter * 100.0, min.into()];
        let names = ["request_count", "jitter_pct", "min_concurrency"];
        assert_eq!(ours, names.map(|name| table["min_rtt"][name].as_f64().unwrap()));
    }

    #[test]
    fn answers_may_take_longer_by_as_much_as_is_wanted() {
        for (buffer, limit) in [(0.0, 7), (0.25, 9), (1.0, 14), (-1.0, 7)] {
            let mut run = Run::new(Gradient::default().range(7, 200).buffer(buffer));
            run.answers(50, 8);
            assert_eq!(run.window(10), limit, "{buffer}");
        }
    }

    #[test]
    fn the_limit_is_the_lowest_until_the_latency_without_load_is_known_and_then_follows_the_formula() {
        let mut run = Run::new(Gradient::default().range(7, 200));
        assert_eq!(run.answers(49, 8), 7);
        assert!(run.is_probing());
        assert_eq!((run.answers(1, 8), run.is_probing()), (7, false));
        // 8 ms and a quarter are 10 ms. The gradient is 1, 2 at the most, 0.5 at the least.
        assert_eq!(run.window(10), 9, "7 + 2.6");
        assert_eq!(run.window(10), 12, "9 + 3");
        assert_eq!(run.window(1), 28, "24 + 4.9");
        assert_eq!(run.window(1), 63, "56 + 7.5");
        assert_eq!(run.window(16), 45, "39.4 + 6.3");
        assert_eq!(run.window(1_000), 27, "22.5 + 4.7");
        assert_eq!((0..20).map(|_| run.window(1)).last(), Some(200));
        assert_eq!((0..20).map(|_| run.window(1_000)).last(), Some(7));
    }

    /// Envoy's `MinRTTBufferTest` and `ConcurrencyLimitBehaviorTestBasic`: of 5 ms without load, ten windows of so many each.
    #[test]
    fn the_limit_goes_up_and_down_as_in_envoys_tests() {
        use std::cmp::Ordering::{Greater, Less};
        for (min, buffer, moves) in [(3, 0.5, &[(6, Greater)][..]), (7, 0.1, &[(4, Greater), (6, Less)])] {
            let settings = Gradient::default().range(min, 1000).buffer(buffer);
            let mut run = Run::new(settings.probe(5, MS * 30_000, 0.0));
            run.answers(5, 5);
            for &(latency, way) in moves {
                for window in 0..10 {
                    let before = run.0.limit();
                    let after = run.window(latency);
                    assert_eq!(
                        after.cmp(&before),
                        way,
                        "{before} to {after}, window {window} of {latency} ms"
                    );
                    assert!(after >= min && after <= 3 * before);
                }
            }
        }
    }

    #[test]
    fn a_window_is_as_long_as_is_wanted_and_the_answer_that_ends_one_counts_in_the_next() {
        let mut run = Run::new(Gradient::default().range(7, 200).interval(300 * MS));
        run.answers(50, 8);
        assert_eq!([run.window(10), run.window(10), run.window(10), run.window(10)], [7, 7, 9, 9]);
        let mut run = Run::new(Gradient::default().range(7, 200));
        run.answers(50, 8);
        run.answers(1, 10);
        run.1 += 100 * MS;
        assert_eq!(run.answers(1, 1), 9, "of the first");
        run.1 += 100 * MS;
        assert_eq!(run.answers(1, 10), 22, "of the one that ended it: 18 + 4.2");
    }

    #[test]
    fn the_median_of_what_was_answered_counts_and_what_failed_does_not() {
        let mut run = Run::new(Gradient::default().probe(5, MS * 60_000, 0.0).buffer(0.0));
        (1..=5).for_each(|millis| {
            let dropped = Sample { latency: MS, in_flight: 1, dropped: true };
            run.0.learn(dropped, run.1);
            run.answers(1, millis);
        });
        let Phase::Following { fastest, .. } = run.0.phase else { unreachable!("{:?}", run.0.phase) };
        assert_eq!(fastest, 3 * MS);
        // Nothing but failures leaves the limit as it is.
        run.1 += 100 * MS;
        run.0.learn(Sample { latency: MS, in_flight: 1, dropped: true }, run.1);
        assert_eq!(run.0.limit(), 3);
    }

    #[test]
    fn the_latency_of_a_while_is_the_one_that_so_many_were_answered_within() {
        for (part, millis) in [(0.0, 1), (0.5, 3), (0.8, 4), (1.0, 5), (7.0, 5), (-1.0, 1)] {
            let settings = Gradient::default().probe(5, MS * 60_000, 0.0).percentile(part);
            let mut run = Run::new(settings);
            (1..=5).for_each(|millis| {
                run.answers(1, millis);
            });
            let Phase::Following { fastest, .. } = run.0.phase else { unreachable!("{:?}", run.0.phase) };
            assert_eq!(fastest, MS * millis, "{part}");
        }
    }

    #[test]
    fn the_latency_without_load_is_measured_anew_by_what_begins_then_and_the_limit_comes_back() {
        let mut run = Run::new(Gradient::default());
        run.answers(50, 10);
        let limit = (0..9).map(|_| run.window(10)).last().unwrap();
        assert!(limit > 20, "{limit}");
        run.1 += MS * 70_000;
        assert_eq!((run.answers(1, 10), run.is_probing()), (3, true), "69 s later at the latest");
        run.1 += 20 * MS;
        assert_eq!((run.answers(50, 21), run.is_probing()), (3, true), "they began before");
        assert_eq!((run.answers(49, 20), run.is_probing()), (3, true));
        assert_eq!((run.answers(1, 20), run.is_probing()), (limit, false));
        assert!(run.window(20) > limit, "20 ms is what it takes now");
    }

    #[test]
    fn times_of_probing_differ_by_their_jitter() {
        let time = |seed| {
            let mut run = Run(Gradient::default().seed(seed), Instant::now());
            run.answers(50, 10);
            let Phase::Following { probe: Some(at), .. } = run.0.phase else { unreachable!() };
            at - run.1
        };
        assert!((0..9).all(|seed| time(seed) == time(seed)), "a seed is a time");
        let times = (0..100).map(|seed| time(seed).as_secs());
        let (least, most) = (times.clone().min(), times.max());
        assert!(least == Some(60) && most == Some(68), "{least:?} to {most:?}");
    }

    #[test]
    fn five_windows_at_the_lowest_limit_throw_doubt_on_the_latency_without_load() {
        let mut run = Run::new(Gradient::default());
        run.answers(50, 1);
        assert_eq!((0..4).map(|_| run.window(100)).collect::<Vec<_>>(), [3; 4]);
        assert!(!run.is_probing());
        run.window(100);
        assert!(run.is_probing());
        run.1 += 100 * MS;
        run.answers(50, 100);
        assert!(run.window(100) > 3);
    }

    #[test]
    fn a_latency_that_is_known_is_never_measured() {
        let mut run = Run::new(Gradient::default().fastest(8 * MS));
        run.answers(1, 10);
        assert!(!run.is_probing());
        assert_eq!(run.window(10), 4, "3 + 1.7");
        assert_eq!((0..20).map(|_| run.window(1_000)).last(), Some(3));
        run.1 += MS * 3_600_000;
        run.window(10);
        assert!(!run.is_probing());
    }
}
