//! What servers say of their load: ORCA reports in headers and trailers.

use std::{collections::HashMap, time::Duration};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName};
use prost::Message;

use crate::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// The header or trailer with a report.
static REPORT: HeaderName = HeaderName::from_static("endpoint-load-metrics-bin");

/// Base64 as gRPC has it: with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a policy wants reports of load to be read: see [`OrcaWeighted`](crate::policy::OrcaWeighted).
#[derive(Clone, Debug)]
pub struct LoadReports {
    /// Which metrics make up utilization, such as `named_metrics.queue`; the highest counts.
    pub metrics: Vec<String>,
    /// How much failures count as utilization.
    pub penalty: f64,
}

/// What a server says of its load: `xds.data.orca.v3.OrcaLoadReport`, as far as it is read,
/// <https://github.com/cncf/xds/blob/main/xds/data/orca/v3/orca_load_report.proto>.
#[derive(Clone, PartialEq, Message)]
pub struct LoadReport {
    #[prost(double, tag = "1")]
    cpu_utilization: f64,
    #[prost(double, tag = "2")]
    mem_utilization: f64,
    #[prost(uint64, tag = "3")]
    rps: u64,
    #[prost(map = "string, double", tag = "5")]
    utilization: HashMap<String, f64>,
    #[prost(double, tag = "6")]
    rps_fractional: f64,
    #[prost(double, tag = "7")]
    eps: f64,
    #[prost(map = "string, double", tag = "8")]
    named_metrics: HashMap<String, f64>,
    #[prost(double, tag = "9")]
    application_utilization: f64,
}

impl LoadReports {
    /// The weight that a report among these headers or trailers gives; `None` without one, and for one that
    /// says nothing.
    pub(crate) fn weight(&self, headers: &HeaderMap) -> Option<f64> {
        let bytes = BASE64.decode(headers.get(&REPORT)?).ok()?;
        self.weigh(&LoadReport::decode(&*bytes).ok()?)
    }

    /// Requests for each unit of utilization, failures among them counting as more of it.
    pub(crate) fn weigh(&self, report: &LoadReport) -> Option<f64> {
        let qps = if report.rps_fractional > 0.0 { report.rps_fractional } else { report.rps as f64 };
        let named = self.metrics.iter().filter_map(|name| report.metric(name)).fold(0.0, f64::max);
        let used = [named, report.application_utilization, report.cpu_utilization];
        let used = used.into_iter().find(|used| *used > 0.0)?;
        let weight = qps / (used + report.eps / qps * self.penalty);
        (qps > 0.0 && weight.is_finite() && weight > 0.0).then_some(weight)
    }
}

impl LoadReport {
    fn metric(&self, name: &str) -> Option<f64> {
        match name.split_once('.') {
            Some(("named_metrics", name)) => self.named_metrics.get(name).copied(),
            Some(("utilization", name)) => self.utilization.get(name).copied(),
            _ => match name {
                "cpu_utilization" => Some(self.cpu_utilization),
                "mem_utilization" => Some(self.mem_utilization),
                "application_utilization" => Some(self.application_utilization),
                _ => None,
            },
        }
    }
}

/// What one endpoint has reported. Times are nanoseconds as the balancer counts them, never 0.
#[derive(Debug)]
pub(crate) struct Reported {
    weight: AtomicU64,
    /// Since when it has reported without a long break.
    since: AtomicU64,
    last: AtomicU64,
}

impl Default for Reported {
    fn default() -> Self {
        Self { weight: AtomicU64::new(0), since: AtomicU64::new(0), last: AtomicU64::new(0) }
    }
}

impl Reported {
    pub(crate) fn record(&self, weight: f64, now: u64) {
        self.weight.store(weight.to_bits(), Relaxed);
        self.last.store(now, Relaxed);
        // Told last: who reads that there has been a report reads its weight as well.
        let _ = self.since.compare_exchange(0, now, Release, Relaxed);
    }

    /// The weight, once it has been reported for `blackout`, and until it has not been for `expiration`.
    pub(crate) fn weight(&self, now: u64, blackout: Duration, expiration: Duration) -> Option<f64> {
        let since = self.since.load(Acquire);
        let last = self.last.load(Relaxed);
        let age = |time: u64| Duration::from_nanos(now.saturating_sub(time));
        if since == 0 {
            return None;
        }
        if age(last) >= expiration {
            self.restart();
            return None;
        }
        (age(since) >= blackout).then(|| f64::from_bits(self.weight.load(Relaxed)))
    }

    /// Begins anew, as after a connection was lost.
    pub(crate) fn restart(&self) {
        self.since.store(0, Relaxed);
    }
}

#[cfg(all(test, not(micro_loom)))]
mod tests {
    use super::*;

    fn report(qps: f64, eps: f64) -> LoadReport {
        LoadReport { rps_fractional: qps, eps, ..LoadReport::default() }
    }

    fn weigh(report: &LoadReport, metrics: &[&str], penalty: f64) -> Option<f64> {
        let metrics = metrics.iter().map(|&name| name.to_owned()).collect();
        LoadReports { metrics, penalty }.weigh(report)
    }

    #[test]
    fn weight_is_requests_for_utilization_and_failures_are_utilization() {
        let used = |qps, used, eps| LoadReport { application_utilization: used, ..report(qps, eps) };
        assert_eq!(weigh(&used(10.0, 1.0, 0.0), &[], 1.0), Some(10.0));
        assert_eq!(weigh(&used(10.0, 0.1, 0.0), &[], 1.0), Some(100.0));
        assert_eq!(weigh(&used(10.0, 0.1, 10.0), &[], 0.9), Some(10.0));
        for nothing in
            [used(0.0, 1.0, 0.0), used(10.0, 0.0, 0.0), used(-1.0, 1.0, 0.0), used(f64::NAN, 1.0, 0.0)]
        {
            assert_eq!(weigh(&nothing, &[], 1.0), None, "{nothing:?}");
        }
    }

    #[test]
    fn named_metrics_go_before_the_applications_and_that_before_the_processors() {
        let mut all = LoadReport { cpu_utilization: 0.5, ..report(1.0, 0.0) };
        assert_eq!(weigh(&all, &["named_metrics.queue"], 1.0), Some(2.0));
        all.application_utilization = 0.25;
        assert_eq!(weigh(&all, &["named_metrics.queue"], 1.0), Some(4.0));
        all.named_metrics.insert("queue".into(), 0.125);
        all.utilization.insert("disk".into(), 2.0);
        assert_eq!(weigh(&all, &["named_metrics.queue"], 1.0), Some(8.0));
        assert_eq!(weigh(&all, &["named_metrics.queue", "utilization.disk"], 1.0), Some(0.5));
    }

    #[test]
    fn a_metric_that_every_report_has_is_named_without_its_kind() {
        let all = LoadReport { cpu_utilization: 0.5, mem_utilization: 0.125, ..report(1.0, 0.0) };
        let all = LoadReport { application_utilization: 0.25, ..all };
        for (named, weight) in [
            ("cpu_utilization", 2.0),
            ("mem_utilization", 8.0),
            ("application_utilization", 4.0),
            ("utilization", 4.0),
        ] {
            assert_eq!(weigh(&all, &[named], 1.0), Some(weight), "{named}");
        }
    }

    fn read(row: &serde_json::Value) -> LoadReport {
        let number = |name: &str| row[name].as_f64().unwrap_or_default();
        let named = ["foo", "bar"].iter().filter(|name| row[**name].is_f64());
        LoadReport {
            application_utilization: number("app"),
            cpu_utilization: number("cpu"),
            named_metrics: named.map(|name| ((*name).to_owned(), number(name))).collect(),
            ..report(number("qps"), number("eps"))
        }
    }

    #[test]
    fn reports_weigh_what_they_weigh_in_envoy_and_grpc() {
        let data: serde_json::Value =
            serde_json::from_str(include_str!("../tests/data/orca_reports.json")).unwrap();
        for row in data["weights"].as_array().unwrap() {
            let weight = weigh(&read(row), &["named_metrics.foo"], row["penalty"].as_f64().unwrap());
            // Envoy's are whole numbers.
            let close = |weight: f64, whole: u64| (0.0..1.0).contains(&(weight + 1e-9 - whole as f64));
            let holds = match row["weight"].as_u64() {
                None => weight.is_none(),
                Some(whole) => weight.is_some_and(|weight| close(weight, whole)),
            };
            assert!(holds, "{weight:?}: {row}");
        }
        for row in data["shares"].as_array().unwrap() {
            let weights =
                row["reports"].as_array().unwrap().iter().map(|it| weigh(&read(it), &[], 1.0).unwrap());
            let weights: Vec<_> = weights.collect();
            for (weight, share) in weights.iter().zip(row["shares"].as_array().unwrap()) {
                assert!((weight / weights[0] - share.as_f64().unwrap()).abs() < 1e-6, "{weights:?}: {row}");
            }
        }
    }

    #[test]
    fn a_report_is_read_from_trailers_padded_or_not() {
        let bytes = LoadReport { application_utilization: 0.5, ..report(10.0, 0.0) }.encode_to_vec();
        let reports = LoadReports { metrics: Vec::new(), penalty: 1.0 };
        let padded = base64::prelude::BASE64_STANDARD.encode(bytes);
        for text in [padded.clone(), padded.trim_end_matches('=').to_owned()] {
            let headers = [(REPORT.clone(), text.parse().unwrap())].into_iter().collect();
            assert_eq!(reports.weight(&headers), Some(20.0));
        }
        let junk = [(REPORT.clone(), "????".parse().unwrap())].into_iter().collect();
        assert_eq!(reports.weight(&junk), None);
        assert_eq!(reports.weight(&HeaderMap::new()), None);
    }

    #[test]
    fn a_weight_counts_from_the_end_of_the_blackout_until_it_expires() {
        const SECOND: u64 = 1_000_000_000;
        let reported = Reported::default();
        let weight = |now| reported.weight(now, Duration::from_secs(10), Duration::from_secs(180));
        assert_eq!(weight(SECOND), None);
        reported.record(3.0, SECOND);
        reported.record(4.0, 2 * SECOND);
        assert_eq!(weight(11 * SECOND - 1), None);
        assert_eq!(weight(11 * SECOND), Some(4.0));
        assert_eq!(weight(182 * SECOND - 1), Some(4.0));
        assert_eq!(weight(182 * SECOND), None);
        reported.record(5.0, 200 * SECOND);
        assert_eq!((weight(209 * SECOND), weight(210 * SECOND)), (None, Some(5.0)));
    }
}

#[cfg(all(test, micro_loom))]
mod loom_tests {
    use std::sync::Arc;

    use loom::thread;

    use super::*;

    #[test]
    fn loom_a_weight_that_counts_is_one_that_was_reported() {
        loom::model(|| {
            let reported = Arc::new(Reported::default());
            let other = reported.clone();
            let thread = thread::spawn(move || other.record(3.0, 1));
            let weight = |now| reported.weight(now, Duration::ZERO, Duration::from_secs(1));
            // Either nothing yet, or what is reported: never a time without its weight.
            assert!([None, Some(3.0)].contains(&weight(2)));
            thread.join().unwrap();
            assert_eq!(weight(2), Some(3.0));
        });
    }

    #[test]
    fn loom_reports_from_before_a_restart_do_not_count_with_the_blackout_over() {
        loom::model(|| {
            let reported = Arc::new(Reported::default());
            reported.record(3.0, 1);
            let other = reported.clone();
            let thread = thread::spawn(move || other.record(4.0, 20));
            reported.restart();
            thread.join().unwrap();
            let blackout = Duration::from_nanos(10);
            let weight = |now| reported.weight(now, blackout, Duration::from_secs(1));
            // It begins anew, with the report that came meanwhile or with the next one.
            assert_eq!(weight(25), None);
            reported.record(5.0, 26);
            assert!([None, Some(5.0)].contains(&weight(31)));
            assert_eq!(weight(36), Some(5.0));
        });
    }
}
