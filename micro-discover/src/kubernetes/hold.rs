//! Keeps an endpoint a moment longer when its slice is gone but nobody said that the endpoint is.
//!
//! Controllers move endpoints between slices, and delete and recreate slices, in steps that a watch sees apart. What
//! is seen unready, shutting down or left out by topology is removed at once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::member::{At, Member};
use super::pool::Pool;

/// What stays beside what is used, for a moment.
#[derive(Debug)]
pub(super) struct Hold {
    missing: Duration,
    emptied: Duration,
    /// Endpoints that are missing, and since when.
    absent: BTreeMap<At, (Member, Instant)>,
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
        self.absent.extend(missing.into_iter().map(|(at, member)| (at, (member, now))));
    }

    /// The set to publish at `now`, and when to ask again though nothing new has come.
    pub(super) fn set(&mut self, pool: &Pool, now: Instant) -> (Vec<(At, Member)>, Option<Instant>) {
        let (count, used) = pool.used();
        let wait = if count == 0 { self.emptied } else { self.missing };
        self.absent.retain(|_, (_, since)| *since + wait > now);
        let again = self.absent.values().map(|(_, since)| *since + wait).min();
        let mut all = Vec::with_capacity(count + self.absent.len());
        let mut absent = self.absent.iter().map(|(at, (member, _))| (*at, member.clone())).peekable();
        for (at, member) in used {
            while let Some(before) = absent.next_if(|(missing, _)| *missing < at) {
                all.push(before);
            }
            all.push((at, member));
        }
        all.extend(absent);
        (all, again)
    }
}
