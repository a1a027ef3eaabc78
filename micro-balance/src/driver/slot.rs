//! One endpoint in the hands of the driver.

use std::{sync::Arc, time::Duration};

use futures_util::future::AbortHandle;
use tokio::time::Instant;

use crate::{
    eject::Ejection,
    eligible::SlowStart,
    endpoint::Endpoint,
    stats::LOST,
    view::{Listed, State},
};

/// What the driver keeps of an endpoint beside its figures.
pub(super) struct Slot<K, S> {
    pub(super) key: K,
    pub(super) endpoint: Endpoint,
    /// As discovery gave it; each attempt to connect starts from a fresh clone.
    pub(super) original: S,
    /// The one that requests use, from the first time it was ready.
    pub(super) service: Option<S>,
    /// Whether an attempt is under way, and which: answers of earlier ones are stale.
    pub(super) attempt: u64,
    pub(super) connecting: bool,
    pub(super) failures: u32,
    pub(super) last_error: Option<Arc<str>>,
    pub(super) health: Health,
    /// Ejections in a row, and when the last one ended.
    pub(super) ejections: u32,
    pub(super) readmitted: Option<Instant>,
    /// Whether it is to be connected: subsetting or the policy may leave it out.
    pub(super) wanted: bool,
    /// Stops the attempt that is under way.
    pub(super) dialing: Option<AbortHandle>,
    /// Since when it has been ready, but for short breaks.
    pub(super) since: Option<Instant>,
    /// Which ejection this is, ever: timers of earlier ones are stale.
    pub(super) turn: u64,
}

/// What passive checks make of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    Ejected,
    HalfOpen,
}

impl<K, S> Slot<K, S> {
    pub(super) fn new(key: K, endpoint: Endpoint, original: S) -> Self {
        Self {
            key,
            endpoint,
            original,
            service: None,
            attempt: 0,
            connecting: false,
            failures: 0,
            last_error: None,
            health: Health::Well,
            ejections: 0,
            readmitted: None,
            turn: 0,
            wanted: true,
            dialing: None,
            since: None,
        }
    }

    /// Leaves it alone: no requests, no connection, no attempt.
    pub(super) fn let_go(&mut self) {
        self.attempt += 1;
        self.connecting = false;
        self.service = None;
        self.failures = 0;
        self.since = None;
        if let Some(dialing) = self.dialing.take() {
            dialing.abort();
        }
        self.endpoint.stats().bar(LOST);
    }

    /// Which part of its weight it has by `slow_start`.
    pub(super) fn warmth(&self, slow_start: &SlowStart, now: Instant) -> f64 {
        let age = self.since.map(|since| now.saturating_duration_since(since));
        slow_start.factor(age.unwrap_or_default())
    }

    /// Whether requests can reach it, ejected or not.
    pub(super) fn is_connected(&self) -> bool {
        self.service.is_some() && self.endpoint.stats().is_open(LOST)
    }

    pub(super) fn listed(&self) -> Listed {
        let state = match self.health {
            _ if !self.wanted => State::Idle,
            _ if !self.is_connected() => State::Connecting,
            Health::Well => State::Ready,
            Health::Ejected => State::Ejected,
            Health::HalfOpen => State::HalfOpen,
        };
        Listed { endpoint: self.endpoint.clone(), state, last_error: self.last_error.clone() }
    }

    /// Counts one more ejection, and says how long it lasts. A long time without any starts over.
    pub(super) fn eject(&mut self, ejection: &Ejection, now: Instant) -> Duration {
        let clean = ejection.time(self.ejections.saturating_add(1));
        if self.readmitted.is_some_and(|at| now.saturating_duration_since(at) > clean) {
            self.ejections = 0;
        }
        self.ejections = self.ejections.saturating_add(1);
        self.turn += 1;
        self.health = Health::Ejected;
        ejection.time(self.ejections)
    }
}
