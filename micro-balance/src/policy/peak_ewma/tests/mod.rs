//! What it costs to go to an endpoint as others have it, and who is picked where costs are not all.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod picks;
mod tables;

use super::*;
use crate::policy::fixture::alike;

fn endpoint(policy: &PeakEwma) -> Endpoint {
    alike(1, policy.timing()).remove(0)
}

fn millis(millis: f64) -> Duration {
    Duration::from_secs_f64(millis / 1e3)
}

fn record(policy: &PeakEwma, endpoint: &Endpoint, took: Duration, now: u64) {
    endpoint.stats().latency().record(nanos(took), now, policy.rate, false);
}
