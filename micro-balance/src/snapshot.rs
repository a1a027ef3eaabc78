//! The endpoints that can take requests right now, as one value that never changes.
//!
//! The driver builds a new snapshot for every change and swaps it in; picks read whichever is current.

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::Notify, task::AbortHandle, time::Instant};

use crate::{
    chance::Chance,
    endpoint::{Endpoint, LOST, Stats},
    policy::{Context, Policy},
    tried::Tried,
    view::Listed,
};

/// What handles and driver of one balancer share.
pub(crate) struct Shared<S, P: Policy, T> {
    pub(crate) snapshot: ArcSwap<Snapshot<S, P, T>>,
    pub(crate) policy: P,
    pub(crate) protocol: T,
    pub(crate) timed: bool,
    /// Wakes requests that found nobody, at each new snapshot.
    pub(crate) changed: Arc<Notify>,
    pub(crate) failfast: Duration,
    pub(crate) name: Option<Arc<str>>,
    /// Stops the driver with the last handle; the driver itself holds none.
    pub(crate) driver: OnceLock<AbortOnDrop>,
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(pub(crate) AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One endpoint with its service, kept alive by the requests it is busy with.
pub(crate) struct Member<S, P: Policy, T> {
    pub(crate) stats: Arc<Stats>,
    pub(crate) service: S,
    /// The way back, for a request that the endpoint hands back. Weak, as the snapshot holds the members.
    pub(crate) shared: Weak<Shared<S, P, T>>,
}

pub(crate) struct Snapshot<S, P: Policy, T> {
    /// Those a policy chooses from, and their services by the same index.
    pub(crate) endpoints: Box<[Endpoint]>,
    pub(crate) members: Box<[Arc<Member<S, P, T>>]>,
    pub(crate) table: P::Table,
    /// Which bars of an endpoint count: in panic, ejections do not.
    pub(crate) mask: u8,
    /// Those that one request at a time may find out about.
    pub(crate) half_open: Box<[Arc<Member<S, P, T>>]>,
    /// Everything discovery knows of.
    pub(crate) known: Box<[Listed]>,
    /// Whether discovery has answered at all.
    pub(crate) resolved: bool,
    /// Since when there has been nobody to take requests, or the last new hope.
    pub(crate) unready_since: Option<Instant>,
}

/// What is known of a request when an endpoint is picked for it.
pub(crate) struct Wish<'a> {
    pub(crate) tried: Option<&'a Tried>,
    /// Asked a moment ago and not ready.
    pub(crate) avoid: Option<&'a Tried>,
    pub(crate) hash: Option<u64>,
    pub(crate) now: Option<Instant>,
}

/// Re-picks before any other endpoint is taken.
const REPICKS: u32 = 3;

impl<S, P: Policy, T> Snapshot<S, P, T> {
    /// Picks an endpoint that is open, one the request has not been to if there is any.
    pub(crate) fn pick(&self, policy: &P, wish: &Wish<'_>, chance: &Chance) -> Option<&Arc<Member<S, P, T>>> {
        let count = self.members.len();
        if count <= 1 {
            return self.members.first().filter(|member| member.stats.is_open(self.mask));
        }
        let mut context = Context { hash: wish.hash, attempt: 0, now: wish.now, chance };
        while context.attempt <= REPICKS {
            let Some(index) = policy.pick(&self.table, &self.endpoints, &context) else { break };
            let Some(member) = self.members.get(index) else { break };
            if self.is_fresh(member, wish) {
                return Some(member);
            }
            context.attempt += 1;
        }
        self.any(wish, chance)
    }

    /// Takes the permit of a half-open endpoint, if there is one to be had.
    pub(crate) fn probe(&self, tried: Option<&Tried>) -> Option<&Arc<Member<S, P, T>>> {
        self.half_open.iter().find(|member| {
            let stats = &member.stats;
            let fresh = tried.is_none_or(|tried| !tried.contains(stats.serial()));
            fresh && stats.is_open(LOST) && stats.try_probe()
        })
    }

    /// The first fresh endpoint from a random place on, or the first that is open at all.
    fn any(&self, wish: &Wish<'_>, chance: &Chance) -> Option<&Arc<Member<S, P, T>>> {
        let (before, after) = self.members.split_at(chance.below(self.members.len()));
        let around = || after.iter().chain(before);
        around()
            .find(|member| self.is_fresh(member, wish))
            .or_else(|| around().find(|member| member.stats.is_open(self.mask)))
    }

    fn is_fresh(&self, member: &Member<S, P, T>, wish: &Wish<'_>) -> bool {
        let unknown = |list: Option<&Tried>| list.is_none_or(|list| !list.contains(member.stats.serial()));
        member.stats.is_open(self.mask) && unknown(wish.tried) && unknown(wish.avoid)
    }
}

impl<S, P: Policy, T> fmt::Debug for Snapshot<S, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}
