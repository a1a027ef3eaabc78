//! Keeps an endpoint a moment longer when its slice is gone but nobody said that the endpoint is.
//!
//! Controllers move endpoints between slices, and delete and recreate slices, in steps that a watch sees apart. What
//! is seen unready, shutting down or left out by topology is removed at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::pool::Pool;
use crate::record::Endpoint;

/// What stays beside what is used, for a moment.
#[derive(Debug)]
pub(super) struct Hold {
    missing: Duration,
    emptied: Duration,
    /// Endpoints that are missing, and since when.
    absent: BTreeMap<SocketAddr, (Endpoint, Instant)>,
}

impl Hold {
    /// Keeps what is missing for `missing`, or for `emptied` when nothing else would be left.
    pub(super) fn new(missing: Duration, emptied: Duration) -> Self {
        Self { missing, emptied, absent: BTreeMap::new() }
    }

    /// Takes what has changed in `pool`.
    pub(super) fn settle(&mut self, pool: &mut Pool, now: Instant) {
        let missing = pool.settle();
        self.absent.retain(|at, _| !pool.knows(at));
        self.absent.extend(missing.into_iter().map(|(at, endpoint)| (at, (endpoint, now))));
    }

    /// The set to publish at `now`, and when to ask again though nothing new has come.
    pub(super) fn set(&mut self, pool: &Pool, now: Instant) -> (Vec<Endpoint>, Option<Instant>) {
        let (count, used) = pool.used();
        let wait = if count == 0 { self.emptied } else { self.missing };
        self.absent.retain(|_, (_, since)| *since + wait > now);
        let again = self.absent.values().map(|(_, since)| *since + wait).min();
        let mut all = Vec::with_capacity(count + self.absent.len());
        let mut absent = self.absent.iter().map(|(at, (endpoint, _))| (*at, endpoint)).peekable();
        for (at, endpoint) in used {
            while let Some((_, before)) = absent.next_if(|(missing, _)| *missing < at) {
                all.push(before.clone());
            }
            all.push(endpoint);
        }
        all.extend(absent.map(|(_, endpoint)| endpoint.clone()));
        (all, again)
    }
}
