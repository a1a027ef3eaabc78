//! One endpoint in the hands of the driver.

use std::sync::Arc;

use futures_util::future::AbortHandle;
use tokio::time::Instant;

use super::roster::Place;
use crate::{
    eject::{Reason, Window},
    eligible::SlowStart,
    endpoint::Endpoint,
    snapshot::AbortOnDrop,
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
    /// What active checks make of it, and the task that makes them.
    pub(super) checked: Checked,
    pub(super) checker: Option<AbortOnDrop>,
    /// The task that listens to its reports of load.
    pub(super) listener: Option<AbortOnDrop>,
    /// Ejections in a row: each lasts longer than the one before, and a clean interval takes one back.
    pub(super) ejections: u32,
    /// Whether it is to be connected: subsetting or the policy may leave it out.
    pub(super) wanted: bool,
    /// Stops the attempt that is under way.
    pub(super) dialing: Option<AbortHandle>,
    /// Since when it has been ready, but for short breaks.
    pub(super) since: Option<Instant>,
    /// Which ejection this is, ever: timers of earlier ones are stale.
    pub(super) turn: u64,
    pub(super) reason: Option<Reason>,
    /// How many of its requests have been accounted for.
    counted: u64,
    /// For how many intervals in a row it has been too slow.
    pub(super) slow: u32,
    /// Whether discovery has removed it.
    pub(super) leaving: bool,
    /// As what it is counted in the last snapshot.
    pub(super) place: Option<Place>,
}

/// What passive checks make of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    Ejected,
    HalfOpen,
}

/// What active checks make of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// There are none.
    Off,
    /// It has not said a word yet.
    Pending,
    Well,
    Unwell,
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
            checked: Checked::Off,
            checker: None,
            listener: None,
            ejections: 0,
            turn: 0,
            wanted: true,
            dialing: None,
            since: None,
            reason: None,
            counted: 0,
            slow: 0,
            leaving: false,
            place: None,
        }
    }

    /// Leaves it alone: no requests, no connection, no attempt.
    pub(super) fn let_go(&mut self) {
        self.attempt += 1;
        self.connecting = false;
        self.service = None;
        self.failures = 0;
        self.since = None;
        self.listener = None;
        if let Some(dialing) = self.dialing.take() {
            dialing.abort();
        }
        if self.checker.take().is_some() {
            self.checked = Checked::Pending;
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
        self.service.is_some() && self.checked != Checked::Pending && self.endpoint.stats().is_open(LOST)
    }

    /// Whether it should take requests, if they reach it.
    pub(super) fn is_well(&self) -> bool {
        self.health == Health::Well && self.checked != Checked::Unwell
    }

    pub(super) fn listed(&self) -> Listed {
        let state = match self.health {
            _ if self.leaving => State::Draining,
            _ if !self.wanted => State::Idle,
            _ if !self.is_connected() => State::Connecting,
            _ if self.checked == Checked::Unwell => State::Unhealthy,
            Health::Well => State::Ready,
            Health::Ejected => State::Ejected,
            Health::HalfOpen => State::HalfOpen,
        };
        Listed {
            endpoint: self.endpoint.clone(),
            state,
            last_error: self.last_error.clone(),
            ejected: self.reason,
            ejections: self.turn,
        }
    }

    /// What it did since this was asked last, if it is to be compared with others.
    pub(super) fn take_window(&mut self) -> Option<Window> {
        let window = self.endpoint.stats().take_window(&mut self.counted);
        (self.health == Health::Well).then_some(window)
    }

    /// Counts one more ejection.
    pub(super) fn eject(&mut self, reason: Reason) {
        self.ejections = self.ejections.saturating_add(1);
        self.turn += 1;
        self.reason = Some(reason);
        self.slow = 0;
        self.health = Health::Ejected;
    }

    pub(super) fn readmit(&mut self) {
        self.health = Health::Well;
        self.reason = None;
        // What it did before is no reason to eject it again.
        let _ = self.endpoint.stats().take_window(&mut self.counted);
    }

    /// A clean interval shortens the next ejection.
    pub(super) fn relent(&mut self) {
        if self.health == Health::Well {
            self.ejections = self.ejections.saturating_sub(1);
        }
    }
}
