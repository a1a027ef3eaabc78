//! Keeps an endpoint a moment longer when its slice is gone but nobody said that the endpoint is.
//!
//! Controllers move endpoints between slices, and delete and recreate slices, in steps that a watch sees apart. What
//! is seen unready, shutting down or left out by topology is removed at once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::select::Selection;
use crate::record::{Endpoint, EndpointId};

/// What was published, and until when missing endpoints stay in it.
#[derive(Debug)]
pub(super) struct Hold {
    missing: Duration,
    emptied: Duration,
    published: BTreeMap<EndpointId, Endpoint>,
    absent_since: BTreeMap<EndpointId, Instant>,
}

impl Hold {
    /// Keeps what is missing for `missing`, or for `emptied` when nothing else would be left.
    pub(super) fn new(missing: Duration, emptied: Duration) -> Self {
        Self { missing, emptied, published: BTreeMap::new(), absent_since: BTreeMap::new() }
    }

    /// The set to publish at `now`, and when to ask again though nothing new has come.
    pub(super) fn apply(&mut self, selection: &Selection, now: Instant) -> (Vec<Endpoint>, Option<Instant>) {
        let wait = if selection.chosen.is_empty() { self.emptied } else { self.missing };
        let mut set = selection.chosen.clone();
        let mut again: Option<Instant> = None;
        let mut absent_since = BTreeMap::new();
        for (id, endpoint) in &self.published {
            if set.contains_key(id) || selection.refused.contains(id) {
                continue;
            }
            let since = *self.absent_since.get(id).unwrap_or(&now);
            let until = since + wait;
            if until > now {
                set.insert(id.clone(), endpoint.clone());
                absent_since.insert(id.clone(), since);
                again = Some(again.map_or(until, |again| again.min(until)));
            }
        }
        self.absent_since = absent_since;
        self.published = set;
        (self.published.values().cloned().collect(), again)
    }
}
