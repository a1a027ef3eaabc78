//! What `bench` measured.

use std::collections::BTreeMap;

use serde::Serialize;

/// What came of many calls of one method.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Benched {
    /// The service, or the address.
    pub target: String,
    /// The method, as it was named.
    pub method: String,
    /// How many calls were under way at a time, at most.
    pub concurrency: usize,
    /// How many were to begin in a second, if that was said.
    pub rate: Option<f64>,
    /// How long it took.
    pub seconds: f64,
    /// How many calls ended.
    pub calls: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were due by the rate and did not begin, as too many were under way.
    pub missed: u64,
    /// How many ended in a second.
    pub calls_per_second: f64,
    /// How many ended with each gRPC status.
    pub statuses: BTreeMap<String, u64>,
    /// How long those took that went well; none where none did. At a rate, from when they were due.
    pub latency_ms: Option<Latency>,
    /// The same by endpoint.
    pub endpoints: Vec<BenchedEndpoint>,
}

/// What came of the calls that one endpoint had.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BenchedEndpoint {
    /// The endpoint.
    pub id: String,
    /// How many calls ended.
    pub calls: u64,
    /// Those that failed.
    pub failed: u64,
    /// How long those took that went well.
    pub latency_ms: Option<Latency>,
}

/// How long calls took, in milliseconds, to a thousandth of each figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Latency {
    /// The shortest.
    pub min: f64,
    /// On average.
    pub mean: f64,
    /// Half of them at most.
    pub p50: f64,
    /// 90 % of them at most.
    pub p90: f64,
    /// 95 % of them at most.
    pub p95: f64,
    /// 99 % of them at most.
    pub p99: f64,
    /// 99.9 % of them at most.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}
