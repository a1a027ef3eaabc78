//! When an endpoint that fails is left out, and for how long.

mod detect;
mod reason;
mod rows;
mod tally;

use std::time::Duration;

use self::detect::Share;
pub(crate) use self::{detect::Window, rows::Rows, tally::Tally};
pub use self::{
    detect::{FailurePercentage, Latency, SuccessRate},
    reason::Reason,
    tally::Ejections,
};

/// Outlier ejection: leaves out an endpoint that fails in a row or does worse than the others, and lets it
/// back through a single request or probe.
///
/// Any of several detectors names an endpoint; then one rule decides. At most [`max_percent`] of the endpoints
/// are out at once, and of what a detector finds only its [`enforcing`] share is ejected, so that a detector
/// can be watched before it is trusted. An ejection lasts [`base`], one `base` more each time in a row, up to
/// [`max`]; each clean interval takes one back. Then the endpoint is half open: one request at a time may go
/// there, and its outcome decides. Envoy calls this outlier detection,
/// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier>.
///
/// A request that its caller drops before an answer has come is a failure too, unless the caller may just have changed its mind:
/// under a policy that measures latency, where it waited for less than half the usual time; under any other, where the
/// endpoint has answered anybody since that request began. What [`timeout`](crate::timeout) drops had its time, and is a failure
/// there whoever else was answered; a limit of one's own says so by [`last_words`](crate::last_words).
///
/// ```
/// use std::time::Duration;
/// use micro_balance::{Ejection, FailurePercentage};
///
/// let ejection = Ejection::default()
///     .consecutive_failures(3)
///     .failure_percentage(FailurePercentage::default().threshold(50.0))
///     .base(Duration::from_secs(1));
/// assert_eq!(ejection.time(2), Duration::from_secs(2));
/// ```
///
/// [`max_percent`]: Self::max_percent
/// [`enforcing`]: Self::enforcing
/// [`base`]: Self::base
/// [`max`]: Self::max
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Ejection {
    consecutive: u32,
    gateway: u32,
    local: u32,
    apart: bool,
    success_rate: Option<SuccessRate>,
    failure_percentage: Option<FailurePercentage>,
    latency: Option<Latency>,
    enforcing: [u8; Reason::ALL.len()],
    interval: Duration,
    base: Duration,
    max: Duration,
    jitter: Duration,
    max_percent: u32,
    panic_percent: u32,
    fails_in_panic: bool,
}

impl Default for Ejection {
    /// 5 failures in a row, or 5 points and 1.9 deviations under the mean success rate; 3 s and up to 10 s, at
    /// most 10 % of the endpoints but always one of two, and none while under 50 % could take requests.
    fn default() -> Self {
        Self {
            gateway: 0,
            success_rate: Some(SuccessRate::default().margin(5.0)),
            failure_percentage: None,
            base: Duration::from_secs(3),
            max: Duration::from_secs(10),
            ..Self::envoy()
        }
    }
}

impl Ejection {
    /// Never ejects.
    pub fn off() -> Self {
        Self { consecutive: 0, success_rate: None, ..Self::default() }
    }

    /// Envoy's defaults: 5 failures in a row or 1.9 deviations under the mean success rate, 30 s and up to
    /// 300 s. Five gateway failures in a row and 85 % failures are noticed and not enforced.
    pub fn envoy() -> Self {
        let mut enforcing = [100; Reason::ALL.len()];
        enforcing[Reason::GatewayFailures.place()] = 0;
        enforcing[Reason::FailurePercentage.place()] = 0;
        enforcing[Reason::LocalFailurePercentage.place()] = 0;
        Self {
            consecutive: 5,
            gateway: 5,
            local: 5,
            apart: false,
            success_rate: Some(SuccessRate::default()),
            failure_percentage: Some(FailurePercentage::default().inclusive(true)),
            latency: None,
            enforcing,
            interval: Duration::from_secs(10),
            base: Duration::from_secs(30),
            max: Duration::from_secs(300),
            jitter: Duration::ZERO,
            max_percent: 10,
            panic_percent: 50,
            fails_in_panic: false,
        }
    }

    /// gRPC's defaults (A50): 1.9 deviations under the mean success rate or more than 85 % failures, nothing
    /// in a row, 30 s and up to 300 s.
    pub fn grpc() -> Self {
        Self { consecutive: 0, gateway: 0, ..Self::envoy() }
            .failure_percentage(FailurePercentage::default())
            .enforcing(Reason::FailurePercentage, 100)
    }

    /// Ejects after `failures` in a row; 0 never does.
    pub fn consecutive_failures(mut self, failures: u32) -> Self {
        self.consecutive = failures;
        self
    }

    /// Ejects after `failures` of gateways in a row: answers of 502, 503 and 504 or their like in gRPC, and
    /// broken connections unless they are counted apart. 0 never does. Enforced by this call.
    pub fn gateway_failures(mut self, failures: u32) -> Self {
        self.gateway = failures;
        self.enforcing(Reason::GatewayFailures, 100)
    }

    /// Counts what fails on this side (broken connections, time-outs) apart from what endpoints answer, and
    /// ejects after `failures` of those in a row; 0 never does.
    pub fn local_failures(mut self, failures: u32) -> Self {
        self.apart = true;
        self.local = failures;
        self
    }

    /// Ejects what is under the mean success rate in an interval by too much.
    pub fn success_rate(mut self, rule: impl Into<Option<SuccessRate>>) -> Self {
        self.success_rate = rule.into();
        self
    }

    /// Ejects what fails too large a share of its requests in an interval. Enforced by this call.
    ///
    /// Where failures on this side are [counted apart](Self::local_failures) they have a share of their own, which is noticed
    /// and not enforced, as Envoy does, unless [`enforcing`](Self::enforcing) says so.
    pub fn failure_percentage(mut self, rule: impl Into<Option<FailurePercentage>>) -> Self {
        self.failure_percentage = rule.into();
        self.enforcing(Reason::FailurePercentage, 100)
    }

    /// Ejects what is far slower than the median for some intervals in a row. Under a policy that measures no latencies
    /// they are measured for this as [`PeakEwma`](crate::policy::PeakEwma) does, which takes two readings of the clock for
    /// each request.
    pub fn latency(mut self, rule: impl Into<Option<Latency>>) -> Self {
        self.latency = rule.into();
        self
    }

    /// Of what is found for `reason`, ejects `percent`; the rest is only counted. 100 unless given.
    pub fn enforcing(mut self, reason: Reason, percent: u8) -> Self {
        self.enforcing[reason.place()] = percent.min(100);
        self
    }

    /// How often endpoints are compared, and a clean record shortens the next ejection; 10 s unless given.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(1));
        self
    }

    /// The first ejection lasts `base`, at least a millisecond, and each further one in a row `base` longer.
    pub fn base(mut self, base: Duration) -> Self {
        self.base = base.max(Duration::from_millis(1));
        self
    }

    /// No ejection lasts longer than `max`, or than `base` if that is longer; jitter comes on top.
    pub fn max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// Each ejection lasts up to `jitter` longer, by chance, so that endpoints ejected together do not come
    /// back together; nothing unless given.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// At most `percent` of the endpoints are out at once, of those that are used: a [subset](crate::eligible::Subset), or the one
    /// of [`PickFirst`](crate::policy::PickFirst). One of at least two always may be, unless `percent` is 0.
    ///
    /// Of three that is one: where two of few may fail at once, [`PeakEwma`](crate::policy::PeakEwma) avoids them by itself.
    /// Policies that do not mind failures need more, and a lower [`panic_percent`](Self::panic_percent) with it, such as 70 and
    /// 30 for two of three.
    pub fn max_percent(mut self, percent: u32) -> Self {
        self.max_percent = percent.min(100);
        self
    }

    /// Ejections are ignored while fewer than `percent` of the endpoints would be left; 0 never ignores them.
    pub fn panic_percent(mut self, percent: u32) -> Self {
        self.panic_percent = percent.min(100);
        self
    }

    /// Whether requests fail with [`TooFewWell`](crate::TooFewWell) where [`panic_percent`](Self::panic_percent) has
    /// ejections ignored otherwise, so that the few that are left are not overrun; false unless given. Envoy's
    /// `fail_traffic_on_panic`. A level of priority that takes what others cannot does so here as well.
    pub fn fail_in_panic(mut self, fails: bool) -> Self {
        self.fails_in_panic = fails;
        self
    }

    /// How long ejection number `times` in a row lasts, counted from 1, without jitter.
    pub fn time(&self, times: u32) -> Duration {
        self.base.saturating_mul(times.max(1)).min(self.max.max(self.base))
    }

    /// The same with jitter; `random` is in `0.0..1.0`.
    pub(crate) fn jittered(&self, times: u32, random: f64) -> Duration {
        self.time(times).saturating_add(self.jitter.mul_f64(random))
    }

    /// How often to compare endpoints, if ever.
    pub(crate) fn every(&self) -> Option<Duration> {
        let compares =
            self.success_rate.is_some() || self.failure_percentage.is_some() || self.latency.is_some();
        let counts = self.consecutive > 0 || self.gateway > 0 || (self.apart && self.local > 0);
        (compares || counts).then_some(self.interval)
    }

    /// Whether latencies have to be measured.
    pub(crate) fn compares_latencies(&self) -> bool {
        self.latency.is_some()
    }

    /// Whether anything is ever found for `reason`.
    #[cfg(feature = "config")]
    pub(crate) fn detects(&self, reason: Reason) -> bool {
        match reason {
            Reason::Failures => self.consecutive > 0,
            Reason::GatewayFailures => self.gateway > 0,
            Reason::LocalFailures => self.apart && self.local > 0,
            Reason::SuccessRate => self.success_rate.is_some(),
            Reason::LocalSuccessRate => self.apart && self.success_rate.is_some(),
            Reason::FailurePercentage => self.failure_percentage.is_some(),
            Reason::LocalFailurePercentage => self.apart && self.failure_percentage.is_some(),
            Reason::Latency => self.latency.is_some(),
        }
    }

    /// Whether what fails on this side is counted apart.
    pub(crate) fn is_apart(&self) -> bool {
        self.apart
    }

    /// Which row is long enough, if any: the one that says most of several.
    pub(crate) fn in_a_row(&self, rows: Rows) -> Option<Reason> {
        let reached = |limit: u32, count: u32| limit > 0 && count >= limit;
        if reached(self.gateway, rows.gateway()) {
            Some(Reason::GatewayFailures)
        } else if self.apart && reached(self.local, rows.local()) {
            Some(Reason::LocalFailures)
        } else if reached(self.consecutive, rows.any()) {
            Some(Reason::Failures)
        } else {
            None
        }
    }

    /// The places of those that did worse than the others; `None` is one that is not compared.
    pub(crate) fn outliers(&self, windows: &[Option<Window>]) -> Vec<(usize, Reason)> {
        let shares: Vec<_> =
            windows.iter().map(|window| window.map(|window| window.answers(self.apart))).collect();
        let mut found = self.compared(&shares, Reason::SuccessRate, Reason::FailurePercentage);
        if self.apart {
            let answered: Vec<_> =
                windows.iter().map(|window| window.map(|window| window.answered())).collect();
            found.extend(self.compared(&answered, Reason::LocalSuccessRate, Reason::LocalFailurePercentage));
        }
        found
    }

    /// The places of those whose shares are worse, by each rule.
    fn compared(&self, shares: &[Option<Share>], rate: Reason, percentage: Reason) -> Vec<(usize, Reason)> {
        let below = self.success_rate.map(|rule| rule.outliers(shares)).unwrap_or_default();
        let above = self.failure_percentage.map(|rule| rule.outliers(shares)).unwrap_or_default();
        let below = below.into_iter().map(|place| (place, rate));
        below.chain(above.into_iter().map(|place| (place, percentage))).collect()
    }

    /// The places of those that are too slow, and for how many intervals in a row that takes.
    pub(crate) fn slow(&self, windows: &[Option<Window>]) -> Option<(Vec<usize>, u32)> {
        self.latency.map(|rule| (rule.slow(windows), rule.needed()))
    }

    /// Whether what is found for `reason` is enforced this time; `random` is in `0.0..1.0`.
    pub(crate) fn enforces(&self, reason: Reason, random: f64) -> bool {
        random * 100.0 < f64::from(self.enforcing[reason.place()])
    }

    /// Whether one more of `total` endpoints may go when `ejected` are out.
    pub(crate) fn allows(&self, ejected: usize, total: usize) -> bool {
        let percent = self.max_percent as usize;
        total >= 2 && percent > 0 && (ejected == 0 || (ejected + 1) * 100 <= total * percent)
    }

    /// Whether requests fail rather than have ejections ignored.
    pub(crate) fn fails_in_panic(&self) -> bool {
        self.fails_in_panic
    }

    /// Below how many percent of endpoints that are well ejections are not heeded.
    pub(crate) fn panic_threshold(&self) -> u32 {
        self.panic_percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> serde_json::Value {
        serde_json::from_str(include_str!("../../tests/data/outlier_detection.json")).unwrap()
    }

    #[test]
    fn ejection_times_grow_by_the_base_up_to_the_limit() {
        let ejection = Ejection::envoy();
        let seconds: Vec<_> = [1, 2, 3, 9, 10, 11].map(|times| ejection.time(times).as_secs()).into();
        assert_eq!(seconds, [30, 60, 90, 270, 300, 300]);
        let longer = Ejection::envoy().base(Duration::from_secs(400));
        assert_eq!([1, 2].map(|times| longer.time(times).as_secs()), [400, 400], "the base is the least");
    }

    #[test]
    fn jitter_lengthens_an_ejection_by_so_much_at_most() {
        let ejection = Ejection::envoy().jitter(Duration::from_secs(10));
        assert_eq!(ejection.jittered(1, 0.0), Duration::from_secs(30));
        assert_eq!(ejection.jittered(1, 0.5), Duration::from_secs(35));
        assert!(ejection.jittered(99, 0.999) < Duration::from_secs(310));
    }

    #[test]
    fn nothing_is_enforced_by_chance_where_nothing_is_to_be() {
        let enforces = |percent, random| {
            Ejection::off().enforcing(Reason::Latency, percent).enforces(Reason::Latency, random)
        };
        assert!(!enforces(0, 0.0) && enforces(100, 0.999) && enforces(30, 0.29) && !enforces(30, 0.3));
    }

    #[test]
    fn a_tenth_of_twenty_is_two_and_one_of_two_may_always_go() {
        let ejection = Ejection::default();
        let allowed = (0..20).take_while(|&ejected| ejection.allows(ejected, 20)).count();
        assert_eq!(allowed, 2);
        assert!(ejection.allows(0, 2) && !ejection.allows(1, 2) && !ejection.allows(0, 1));
        assert!(!ejection.max_percent(0).allows(0, 20));
    }

    #[test]
    fn envoys_defaults_are_those_of_its_protocol() {
        let (table, ejection) = (table(), Ejection::envoy());
        let row = |name: &str| table["envoy_defaults"][name].as_u64().unwrap();
        assert_eq!(u64::from(ejection.consecutive), row("consecutive_5xx"));
        assert_eq!(u64::from(ejection.gateway), row("consecutive_gateway_failure"));
        assert_eq!(u64::from(ejection.local), row("consecutive_local_origin_failure"));
        assert_eq!(ejection.interval.as_secs(), row("interval_s"));
        assert_eq!(ejection.base.as_secs(), row("base_ejection_time_s"));
        assert_eq!(ejection.max.as_secs(), row("max_ejection_time_s"));
        assert_eq!(u64::from(ejection.max_percent), row("max_ejection_percent"));
        assert_eq!(ejection.jitter.as_secs(), row("max_ejection_time_jitter_s"));
        assert!(!ejection.apart);
        for (reason, name) in [
            (Reason::Failures, "enforcing_consecutive_5xx"),
            (Reason::GatewayFailures, "enforcing_consecutive_gateway_failure"),
            (Reason::LocalFailures, "enforcing_consecutive_local_origin_failure"),
            (Reason::SuccessRate, "enforcing_success_rate"),
            (Reason::LocalSuccessRate, "enforcing_local_origin_success_rate"),
            (Reason::FailurePercentage, "enforcing_failure_percentage"),
            (Reason::LocalFailurePercentage, "enforcing_failure_percentage_local_origin"),
        ] {
            assert_eq!(u64::from(ejection.enforcing[reason.place()]), row(name), "{reason}");
        }
        let rate = SuccessRate::default()
            .factor(row("success_rate_stdev_factor") as f64 / 1000.0)
            .minimum_hosts(row("success_rate_minimum_hosts") as u32)
            .request_volume(row("success_rate_request_volume") as u32);
        assert_eq!(ejection.success_rate, Some(rate));
        let percentage = FailurePercentage::default()
            .inclusive(true)
            .threshold(row("failure_percentage_threshold") as f64)
            .minimum_hosts(row("failure_percentage_minimum_hosts") as u32)
            .request_volume(row("failure_percentage_request_volume") as u32);
        assert_eq!(ejection.failure_percentage, Some(percentage));
    }

    #[test]
    fn our_defaults_are_envoys_but_for_shorter_times_and_a_margin() {
        let (ours, envoy) = (Ejection::default(), Ejection::envoy());
        assert_eq!((ours.base, ours.max), (Duration::from_secs(3), Duration::from_secs(10)));
        assert_eq!((ours.consecutive, ours.max_percent, ours.panic_percent), (5, 10, 50));
        let rate = SuccessRate::default().margin(5.0);
        assert_eq!((ours.success_rate, ours.failure_percentage, ours.latency), (Some(rate), None, None));
        let times = ours.base(envoy.base).max(envoy.max);
        let rules = times.success_rate(envoy.success_rate).failure_percentage(envoy.failure_percentage);
        let same = Ejection { gateway: envoy.gateway, enforcing: envoy.enforcing, ..rules };
        assert_eq!(same, envoy);
    }

    #[test]
    fn grpcs_defaults_are_those_of_its_proposal() {
        let (table, ejection) = (table(), Ejection::grpc());
        let row = &table["grpc_defaults"];
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        assert_eq!(ejection.interval.as_secs(), number(&row["interval_s"]));
        assert_eq!(ejection.base.as_secs(), number(&row["base_ejection_time_s"]));
        assert_eq!(ejection.max.as_secs(), number(&row["max_ejection_time_s"]));
        assert_eq!(u64::from(ejection.max_percent), number(&row["max_ejection_percent"]));
        assert_eq!((ejection.consecutive, ejection.gateway, ejection.apart), (0, 0, false));
        let rule = &row["success_rate"];
        let rate = SuccessRate::default()
            .factor(rule["stdev_factor"].as_f64().unwrap() / 1000.0)
            .minimum_hosts(number(&rule["minimum_hosts"]) as u32)
            .request_volume(number(&rule["request_volume"]) as u32);
        assert_eq!(ejection.success_rate, Some(rate));
        let enforced = |reason: Reason| u64::from(ejection.enforcing[reason.place()]);
        assert_eq!(enforced(Reason::SuccessRate), number(&rule["enforcement_percentage"]));
        let rule = &row["failure_percentage"];
        let percentage = FailurePercentage::default()
            .threshold(rule["threshold"].as_f64().unwrap())
            .minimum_hosts(number(&rule["minimum_hosts"]) as u32)
            .request_volume(number(&rule["request_volume"]) as u32);
        assert_eq!(ejection.failure_percentage, Some(percentage));
        // As the proposal says; grpc-go has 0.
        assert_eq!(enforced(Reason::FailurePercentage), number(&rule["enforcement_percentage_A50_text"]));
    }

    #[test]
    fn rows_of_each_kind_have_a_limit_of_their_own() {
        use crate::classify::Fault::{Gateway, Local, Server};
        let found = |ejection: &Ejection, faults: &[crate::classify::Fault]| {
            let rows = faults.iter().fold(Rows::NONE, |rows, &fault| rows.after(fault, ejection.is_apart()));
            ejection.in_a_row(rows)
        };
        let ejection = Ejection::off().consecutive_failures(3).gateway_failures(2);
        assert_eq!(found(&ejection, &[Server, Server]), None);
        assert_eq!(found(&ejection, &[Server, Server, Server]), Some(Reason::Failures));
        assert_eq!(found(&ejection, &[Gateway, Local]), Some(Reason::GatewayFailures));
        let apart = Ejection::off().consecutive_failures(3).local_failures(2);
        assert_eq!(found(&apart, &[Server, Local, Server]), None);
        assert_eq!(found(&apart, &[Server, Local, Local]), Some(Reason::LocalFailures));
    }
}
