//! When endpoints are asked, and how many answers it takes to be believed.

use std::time::Duration;

use super::standing::Standing;
use crate::saturating::{scale, within};

/// When endpoints are asked, and how many answers it takes.
///
/// Every 2 s unless given, up to a tenth more or less by chance; three failures in a row make an endpoint
/// unhealthy, and two successes make it healthy again. The very first answer counts alone, and so does one by which the
/// endpoint [says](super::Condition) that it is not well.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct HealthCheck {
    interval: Duration,
    unhealthy_interval: Option<Duration>,
    healthy_edge_interval: Option<Duration>,
    unhealthy_edge_interval: Option<Duration>,
    idle_interval: Option<Duration>,
    timeout: Duration,
    jitter: f64,
    initial_jitter: Duration,
    healthy_threshold: u32,
    unhealthy_threshold: u32,
    readmits: bool,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            unhealthy_interval: None,
            healthy_edge_interval: None,
            unhealthy_edge_interval: None,
            idle_interval: None,
            timeout: Duration::from_secs(1),
            jitter: 0.1,
            initial_jitter: Duration::ZERO,
            healthy_threshold: 2,
            unhealthy_threshold: 3,
            readmits: true,
        }
    }
}

impl HealthCheck {
    /// The time between the end of one check and the next.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(1));
        self
    }

    /// The same while the endpoint is unhealthy; the usual interval unless given.
    pub fn unhealthy_interval(mut self, interval: Duration) -> Self {
        self.unhealthy_interval = Some(interval.max(Duration::from_millis(1)));
        self
    }

    /// The same while an unhealthy endpoint has answered well, but not often enough in a row yet; like any other unless given.
    pub fn healthy_edge_interval(mut self, interval: Duration) -> Self {
        self.healthy_edge_interval = Some(interval.max(Duration::from_millis(1)));
        self
    }

    /// The same while a healthy endpoint has failed to answer, but not often enough in a row yet: whoever wants to know soon asks
    /// soon again. Like any other unless given.
    pub fn unhealthy_edge_interval(mut self, interval: Duration) -> Self {
        self.unhealthy_edge_interval = Some(interval.max(Duration::from_millis(1)));
        self
    }

    /// The same while the endpoint gets no requests; the usual interval unless given.
    pub fn idle_interval(mut self, interval: Duration) -> Self {
        self.idle_interval = Some(interval.max(Duration::from_millis(1)));
        self
    }

    /// How long an answer may take, at most an interval; 1 s unless given.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// By which part an interval is longer or shorter by chance, from 0 to 1; 0.1 unless given. Clients that
    /// started together must not ask together.
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = within(part, 0.0, 1.0);
        self
    }

    /// Waits up to this long, by chance, before the first check; nothing unless given.
    pub fn initial_jitter(mut self, most: Duration) -> Self {
        self.initial_jitter = most;
        self
    }

    /// How many successes in a row make an unhealthy endpoint healthy; 2 unless given.
    pub fn healthy_threshold(mut self, successes: u32) -> Self {
        self.healthy_threshold = successes.max(1);
        self
    }

    /// How many failures in a row make a healthy endpoint unhealthy; 3 unless given.
    pub fn unhealthy_threshold(mut self, failures: u32) -> Self {
        self.unhealthy_threshold = failures.max(1);
        self
    }

    /// Whether an endpoint that becomes healthy also comes back from ejection; it does unless given.
    pub fn readmits(mut self, readmits: bool) -> Self {
        self.readmits = readmits;
        self
    }

    pub(crate) fn is_readmitting(&self) -> bool {
        self.readmits
    }

    /// How many answers against it change an endpoint's standing.
    pub(super) fn threshold(&self, healthy: bool) -> u32 {
        if healthy { self.unhealthy_threshold } else { self.healthy_threshold }
    }

    pub(super) fn patience(&self) -> Duration {
        self.timeout.min(self.interval)
    }

    /// The wait before the first check; `random` is in `0.0..1.0`.
    pub(super) fn first(&self, random: f64) -> Duration {
        self.initial_jitter.mul_f64(random)
    }

    /// The wait before the next check.
    pub(super) fn wait(&self, standing: Standing, idle: bool, random: f64) -> Duration {
        let healthy = standing.healthy() != Some(false);
        let edge = if healthy { self.unhealthy_edge_interval } else { self.healthy_edge_interval };
        let steady = match (healthy, idle) {
            (false, _) => self.unhealthy_interval,
            (true, true) => self.idle_interval,
            (true, false) => None,
        };
        let interval = edge.filter(|_| standing.is_doubted()).or(steady).unwrap_or(self.interval);
        scale(interval, 1.0 - self.jitter + 2.0 * self.jitter * random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::Condition;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn jitter_keeps_within_its_part_of_the_interval() {
        let schedule = HealthCheck::default().interval(ms(1000)).jitter(0.2);
        let standing = Standing::default();
        assert_eq!(schedule.wait(standing, false, 0.0), ms(800));
        assert_eq!(schedule.wait(standing, false, 0.5), ms(1000));
        assert!(schedule.wait(standing, false, 0.999) < ms(1200));
        assert_eq!(schedule.initial_jitter(ms(100)).first(0.5), ms(50));
    }

    #[test]
    fn an_answer_is_not_waited_for_longer_than_an_interval() {
        let schedule = HealthCheck::default().interval(ms(300)).timeout(ms(900));
        assert_eq!(schedule.patience(), ms(300));
        assert_eq!(schedule.timeout(ms(0)).patience(), ms(1), "nobody could answer in no time");
    }

    #[test]
    fn unhealthy_and_idle_endpoints_have_intervals_of_their_own() {
        let schedule =
            HealthCheck::default().jitter(0.0).unhealthy_interval(ms(100)).idle_interval(ms(60_000));
        let mut unhealthy = Standing::default();
        unhealthy.take(&Ok(Condition::Unwell), &schedule);
        assert_eq!(schedule.wait(unhealthy, true, 0.5), ms(100));
        assert_eq!(schedule.wait(Standing::default(), true, 0.5), ms(60_000));
        assert_eq!(schedule.wait(Standing::default(), false, 0.5), ms(2_000));
    }

    #[test]
    fn who_is_about_to_change_sides_may_be_asked_again_sooner() {
        let schedule = HealthCheck::default().jitter(0.0).unhealthy_interval(ms(5_000));
        let standing = |answers: &[Result<Condition, &str>]| {
            let mut standing = Standing::default();
            for answer in answers {
                standing.take(&answer.map_err(Into::into), &schedule);
            }
            standing
        };
        let (well, fails) = (Ok(Condition::Well), Err("no answer"));
        let all = [&[well][..], &[well, fails], &[fails], &[fails, well]].map(standing);
        let waits =
            |schedule: &HealthCheck| all.map(|standing| schedule.wait(standing, false, 0.5).as_millis());
        assert_eq!(waits(&schedule), [2_000, 2_000, 5_000, 5_000]);
        let edges = schedule.unhealthy_edge_interval(ms(300)).healthy_edge_interval(ms(200));
        assert_eq!(waits(&edges), [2_000, 300, 5_000, 200]);
    }
}
