//! What came of records and endpoints.

use micro_discover::{Endpoint, Service};
use serde::Serialize;

/// A service in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its versions, in order.
    pub versions: Vec<String>,
    /// How many endpoints it has.
    pub endpoints: usize,
}

/// An endpoint that came, changed or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Changed {
    /// What happened.
    pub event: Event,
    /// The service's name.
    pub service: String,
    /// The endpoint as it is now, or as it last was.
    pub endpoint: Endpoint,
}

/// What happened to an endpoint or its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// It is new, or was there when the watch began.
    Added,
    /// Something about it differs.
    Changed,
    /// It is gone.
    Removed,
}

/// How an endpoint is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Checked {
    /// The service, which whoever asked knows.
    #[serde(skip)]
    pub service: String,
    /// The version that it serves.
    pub version: String,
    /// The endpoint.
    pub id: String,
    /// Where it listens.
    pub address: String,
    /// What it says, or why it says nothing.
    pub state: State,
    /// How long connecting took, in milliseconds.
    pub connect_ms: Option<f64>,
    /// How long its answer took once connected, in milliseconds.
    pub latency_ms: Option<f64>,
    /// What went wrong, in words.
    pub error: Option<String>,
}

/// The state of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// It serves.
    Serving,
    /// It says that it does not serve now.
    NotServing,
    /// It does not know whether it serves.
    #[default]
    Unknown,
    /// It has no gRPC service of the name that was asked for.
    ServiceUnknown,
    /// It does not answer gRPC health checks.
    Unimplemented,
    /// It cannot be connected to.
    Unreachable,
    /// It did not answer in time.
    Timeout,
    /// The check failed in another way.
    Failed,
}

/// Something that was done to a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Done {
    /// `registered` or `deregistered`.
    pub done: &'static str,
    /// The record it was done to, with the endpoints that are concerned.
    pub service: Service,
    /// Whether the record goes when this command ends.
    pub held: bool,
}
