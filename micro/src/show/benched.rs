//! What `bench` measured, for people: a row for each endpoint and one for all, and a line of what else there is to say.

use comfy_table::Cell;

use super::screen::{millis, text};
use crate::command::{Benched, Latency};

pub(super) const COLUMNS: [&str; 11] =
    ["ENDPOINT", "CALLS", "FAILED", "MIN", "MEAN", "P50", "P90", "P95", "P99", "P99.9", "MAX"];

pub(super) fn rows(benched: &Benched) -> impl Iterator<Item = Vec<Cell>> {
    let each = benched.endpoints.iter().map(|one| row(&one.id, one.calls, one.failed, one.latency_ms));
    each.chain([row("all", benched.calls, benched.failed, benched.latency_ms)])
}

fn row(id: &str, calls: u64, failed: u64, latency: Option<Latency>) -> Vec<Cell> {
    let figures = match latency {
        Some(Latency { min, mean, p50, p90, p95, p99, p999, max }) => {
            [min, mean, p50, p90, p95, p99, p999, max].map(Some)
        }
        None => [None; 8],
    };
    let figures = figures.into_iter().map(|figure| text(millis(figure)));
    [text(id), text(calls), text(failed)].into_iter().chain(figures).collect()
}

/// How fast it went, and how calls ended.
pub(super) fn sum(benched: &Benched) -> String {
    let Benched { calls, seconds, calls_per_second, concurrency, missed, .. } = benched;
    let statuses: Vec<_> = benched.statuses.iter().map(|(name, calls)| format!("{name} {calls}")).collect();
    let mut sum = format!(
        "\n{calls} calls in {seconds:.1} s, {calls_per_second:.1} in a second, {concurrency} at a time at most"
    );
    if !statuses.is_empty() {
        sum += &format!(": {}", statuses.join(", "));
    }
    if let Some(rate) = benched.rate {
        sum += &format!("\n{rate} in a second were wanted");
        if *missed > 0 {
            sum +=
                &format!(", and {missed} did not begin: answers took too long, try a larger --concurrency");
        }
    }
    sum + "\n"
}
