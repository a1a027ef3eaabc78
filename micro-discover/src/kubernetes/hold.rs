//! Keeps an endpoint a moment longer when its slice is gone but nobody said that the endpoint is.
//!
//! Controllers move endpoints between slices, and delete and recreate slices, in steps that a watch sees apart. What
//! is seen unready, shutting down or left out by topology is removed at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::select::Selection;
use crate::record::Endpoint;

/// What was chosen last, and what stays beside it for a moment.
#[derive(Debug)]
pub(super) struct Hold {
    missing: Duration,
    emptied: Duration,
    chosen: BTreeMap<SocketAddr, Endpoint>,
    /// Endpoints that are missing, and since when.
    absent: BTreeMap<SocketAddr, (Endpoint, Instant)>,
}

impl Hold {
    /// Keeps what is missing for `missing`, or for `emptied` when nothing else would be left.
    pub(super) fn new(missing: Duration, emptied: Duration) -> Self {
        Self { missing, emptied, chosen: BTreeMap::new(), absent: BTreeMap::new() }
    }

    /// Takes what is chosen from `now` on.
    pub(super) fn choose(&mut self, selection: Selection, now: Instant) {
        let Selection { chosen, refused, .. } = selection;
        let missing = |at: &SocketAddr| !chosen.contains_key(at) && !refused.contains(at);
        self.absent.retain(|at, _| missing(at));
        for (at, endpoint) in std::mem::take(&mut self.chosen) {
            if missing(&at) {
                self.absent.insert(at, (endpoint, now));
            }
        }
        self.chosen = chosen;
    }

    /// The set to publish at `now`, and when to ask again though nothing new has come.
    pub(super) fn set(&mut self, now: Instant) -> (Vec<Endpoint>, Option<Instant>) {
        let wait = if self.chosen.is_empty() { self.emptied } else { self.missing };
        self.absent.retain(|_, (_, since)| *since + wait > now);
        let again = self.absent.values().map(|(_, since)| *since + wait).min();
        if again.is_none() {
            return (self.chosen.values().cloned().collect(), None);
        }
        let absent = self.absent.iter().map(|(at, (endpoint, _))| (at, endpoint));
        let all: BTreeMap<_, _> = self.chosen.iter().chain(absent).collect();
        (all.into_values().cloned().collect(), again)
    }
}
