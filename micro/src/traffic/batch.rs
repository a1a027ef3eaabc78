//! What one face of Micro tells another of the requests it has seen.

use serde::{Deserialize, Serialize};

use super::count::Count;
use super::exchange::Exchange;

/// What was seen in a moment: every request counted, and some of them by themselves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Batch {
    /// All requests.
    pub counts: Vec<Counted>,
    /// The first of them, one by one.
    pub requests: Vec<Exchange>,
    /// How many more there were.
    pub missed: u64,
}

/// The requests from one caller to one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counted {
    /// The caller, as it names itself.
    pub from: String,
    /// The service.
    pub service: String,
    /// The endpoint; empty where it is not known.
    pub endpoint: String,
    /// How many, and how they went.
    #[serde(flatten)]
    pub count: Count,
}

impl Batch {
    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.requests.is_empty() && self.missed == 0
    }
}
