//! Gives a check its time.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::command::reply::Finding;

/// What `look` finds within `limit`, or else `late`; and how long that took.
pub(super) async fn within(limit: Duration, look: impl Future<Output = Finding>, late: Finding) -> Finding {
    let began = Instant::now();
    let found = timeout(limit, look).await.unwrap_or(late);
    found.took(millis(began))
}

/// How long it is since then, in milliseconds, to a microsecond.
pub(super) fn millis(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1e6).round() / 1e3
}
