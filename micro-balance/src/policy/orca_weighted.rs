//! Each endpoint in turn, as often as the servers' own reports of load say.

use std::{fmt, time::Duration};

use super::{Context, Policy, Strides, WeightedRoundRobin};
use crate::{endpoint::Endpoint, load_report::LoadReports, setting::InvalidSetting};

/// Weighs endpoints by what they report of themselves: requests a second for each unit of utilization.
///
/// Servers send reports in the header or trailer `endpoint-load-metrics-bin` (ORCA), which takes the
/// protocol [`Http`](crate::Http). For servers of different strength that know their load better than a
/// client can. An endpoint that reports nothing counts as the mean of those that do; with fewer than two that
/// do this is round robin. gRPC's weighted round robin,
/// <https://github.com/grpc/proposal/blob/master/A58-client-side-weighted-round-robin-lb-policy.md>.
///
/// ```
/// use micro_balance::policy::OrcaWeighted;
///
/// let policy = OrcaWeighted::new().metric("named_metrics.queue").penalty(2.0)?;
/// # Ok::<(), micro_balance::InvalidSetting>(())
/// ```
#[must_use]
pub struct OrcaWeighted {
    turns: WeightedRoundRobin,
    reports: LoadReports,
    blackout: Duration,
    expiration: Duration,
    update: Duration,
}

impl OrcaWeighted {
    /// Weights count after 10 s of reports, until there was none for three minutes, and are looked at each
    /// second. Failures count once.
    pub fn new() -> Self {
        Self {
            turns: WeightedRoundRobin::new().clamped(),
            reports: LoadReports { metrics: Vec::new(), penalty: 1.0 },
            blackout: Duration::from_secs(10),
            expiration: Duration::from_secs(180),
            update: Duration::from_secs(1),
        }
    }

    /// For how long an endpoint must have reported before its weight counts; zero for at once.
    pub fn blackout(mut self, blackout: Duration) -> Self {
        self.blackout = blackout;
        self
    }

    /// After how long without a report a weight does not count any more.
    pub fn expiration(mut self, expiration: Duration) -> Self {
        self.expiration = expiration;
        self
    }

    /// How often weights are looked at, a quarter of that more or less, so that clients are not in step; 100 ms at least.
    pub fn update(mut self, period: Duration) -> Self {
        self.update = period.max(Duration::from_millis(100));
        self
    }

    /// Takes this metric for utilization, the highest where there are several: `named_metrics.NAME`,
    /// `utilization.NAME`, `cpu_utilization`, `mem_utilization` or `application_utilization`.
    pub fn metric(mut self, name: impl Into<String>) -> Self {
        self.reports.metrics.push(name.into());
        self
    }

    /// How much the part of requests that fail counts as utilization; 1 unless given.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] unless `penalty` is 0 or more.
    pub fn penalty(mut self, penalty: f64) -> Result<Self, InvalidSetting> {
        if !(penalty >= 0.0 && penalty.is_finite()) {
            return Err(InvalidSetting::new("the penalty for failures", penalty, "0 or more"));
        }
        self.reports.penalty = penalty;
        Ok(self)
    }
}

impl Default for OrcaWeighted {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for OrcaWeighted {
    type Table = Strides;

    fn table(&self, endpoints: &[Endpoint]) -> Strides {
        let reported = |endpoint: &Endpoint| {
            let weight = endpoint.stats().reported(self.blackout, self.expiration);
            weight.filter(|weight| weight.is_finite() && *weight > 0.0)
        };
        let reports: Vec<_> = endpoints.iter().map(reported).collect();
        let known: Vec<_> = reports.iter().copied().flatten().collect();
        let mean = if known.is_empty() { 1.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
        // Who is new has reported nothing yet, and starts slowly all the same.
        let weight =
            |(report, endpoint): (&Option<f64>, &Endpoint)| report.unwrap_or(mean) * endpoint.warmth();
        Strides::new(&reports.iter().zip(endpoints).map(weight).collect::<Vec<_>>(), true)
    }

    #[inline]
    fn pick(&self, table: &Strides, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        self.turns.pick(table, endpoints, context)
    }

    fn refresh(&self) -> Option<Duration> {
        Some(self.update)
    }

    fn load_reports(&self) -> Option<LoadReports> {
        Some(self.reports.clone())
    }
}

impl fmt::Debug for OrcaWeighted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrcaWeighted").field("reports", &self.reports).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_defaults_are_those_of_grpc() {
        let table = include_str!("../../tests/data/grpc_wrr_static_stride.json");
        let table = serde_json::from_str::<Value>(table).unwrap()["defaults"].take();
        let OrcaWeighted { reports, blackout, expiration, update, .. } = OrcaWeighted::new();
        let least = OrcaWeighted::new().update(Duration::ZERO).update;
        for (name, ours) in [
            ("blackout_period_s", blackout.as_secs_f64()),
            ("weight_expiration_period_s", expiration.as_secs_f64()),
            ("weight_update_period_s", update.as_secs_f64()),
            ("weight_update_min_ms", least.as_secs_f64() * 1e3),
            ("error_utilization_penalty", reports.penalty),
        ] {
            assert_eq!(table[name].as_f64(), Some(ours), "{name}");
        }
        assert_eq!(table["negative_penalty"], "rejected");
        assert!(OrcaWeighted::new().penalty(-0.1).is_err());
        assert!(OrcaWeighted::new().penalty(f64::INFINITY).is_err());
    }

    #[test]
    fn metrics_are_those_that_are_named() {
        let named = OrcaWeighted::new().metric("named_metrics.queue").metric("mem_utilization");
        let metrics = named.load_reports().unwrap().metrics;
        assert_eq!(metrics, ["named_metrics.queue", "mem_utilization"]);
    }
}
