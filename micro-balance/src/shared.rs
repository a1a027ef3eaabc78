//! What every handle of a balancer and its driver have in common.

use std::{
    sync::{Arc, OnceLock, atomic::AtomicU64},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::Notify, task::AbortHandle};

use crate::{
    clock::{Clock, Moment},
    eligible::Counters,
    over::Over,
    policy::Policy,
    settings::Settings,
    snapshot::Snapshot,
};

/// What handles and driver of one balancer share.
pub(crate) struct Shared<S, P: Policy, T> {
    pub(crate) snapshot: ArcSwap<Snapshot<S, P>>,
    /// Counts snapshots, each time after a new one is in its place.
    pub(crate) version: AtomicU64,
    pub(crate) policy: P,
    pub(crate) protocol: T,
    /// For a policy that measures times.
    pub(crate) timed: Option<Clock>,
    /// Wakes requests that found nobody, at each new snapshot.
    pub(crate) changed: Arc<Notify>,
    pub(crate) failfast: Duration,
    pub(crate) settings: Arc<Settings>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) over: Over,
    /// Requests for which a step of eligibility gave way.
    pub(crate) fallbacks: Counters,
    /// Stops the driver with the last handle; the driver itself holds none.
    pub(crate) driver: OnceLock<AbortOnDrop>,
    /// Stops the task that probes for the policy, likewise.
    pub(crate) prober: OnceLock<AbortOnDrop>,
}

impl<S, P: Policy, T> Shared<S, P, T> {
    /// The time, if anybody wants to know.
    #[inline]
    pub(crate) fn now(&self) -> Option<Moment> {
        self.timed.as_ref().map(Clock::now)
    }
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(pub(crate) AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
