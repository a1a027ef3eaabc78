//! Gives checks their time.

use std::pin::pin;
use std::time::Duration;

use futures_core::Stream;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::command::reply::Finding;

/// What `look` finds within `limit`, or else `late`; and how long that took.
pub(super) async fn within(limit: Duration, look: impl Future<Output = Finding>, late: Finding) -> Finding {
    let began = Instant::now();
    let found = timeout(limit, look).await.unwrap_or(late);
    found.took(millis(began))
}

/// What comes of `looks` by `end`, in the order of their numbers.
pub(super) async fn all_by<T>(end: Instant, looks: impl Stream<Item = (usize, T)>) -> Vec<T> {
    let (mut looks, mut done) = (pin!(looks), Vec::new());
    while let Ok(Some(one)) = timeout_at(end, looks.next()).await {
        done.push(one);
    }
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, one)| one).collect()
}

/// How long it is since then, in milliseconds, to a microsecond.
pub(super) fn millis(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1e6).round() / 1e3
}
