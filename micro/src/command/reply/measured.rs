//! What services say of themselves, counted and measured.

use serde::Serialize;

use super::record::State;

/// What an endpoint says of itself; what it does not say is not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Measured {
    /// The service.
    pub service: String,
    /// The version that it serves.
    pub version: String,
    /// The endpoint.
    pub id: String,
    /// Where it listens.
    pub address: String,
    /// Whether it serves, or why it says nothing.
    pub state: State,
    /// How long its answer took once connected, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Since when it runs, in seconds since 1970.
    pub started: Option<u64>,
    /// For how long.
    pub uptime_seconds: Option<u64>,
    /// The memory it uses.
    pub memory_bytes: Option<u64>,
    /// Its threads; goroutines in Go.
    pub threads: Option<u64>,
    /// How long it stood still for garbage, in all.
    pub gc_nanoseconds: Option<u64>,
    /// Requests so far.
    pub requests: Option<u64>,
    /// Those that failed.
    pub errors: Option<u64>,
    /// Requests since the last round.
    pub requests_per_second: Option<f64>,
    /// Those that failed.
    pub errors_per_second: Option<f64>,
    /// What went wrong, in words.
    pub error: Option<String>,
}
