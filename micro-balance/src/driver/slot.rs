//! One endpoint in the hands of the driver.

use tokio::time::Instant;

pub(super) use super::affairs::Health;
use super::{affairs::Affairs, census::Place};
use crate::{
    condition::Condition,
    eject::{Reason, Window},
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
    /// Which attempt to connect was the last: answers of earlier ones are stale.
    pub(super) attempt: u32,
    /// What active checks make of it.
    pub(super) checked: Checked,
    pub(super) stay: Stay,
    /// Whether it has been ready, but for short breaks.
    pub(super) reached: bool,
    /// How many of its requests have been accounted for: the lower bits of their number.
    counted: u32,
    /// As what it is counted in the last snapshot.
    pub(super) place: Option<Place>,
    /// Nothing while there is nothing the matter with it, as with most of many.
    affairs: Option<Box<Affairs>>,
}

/// How an endpoint belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    /// It is to be connected.
    Wanted,
    /// Subsetting or the policy leaves it out.
    Spare,
    /// Discovery has removed it.
    Leaving,
}

/// What active checks make of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// There are none.
    Off,
    /// It has not said a word yet.
    Pending,
    Said(Condition),
}

impl Checked {
    pub(super) fn is_well(self) -> bool {
        matches!(self, Self::Said(Condition::Well | Condition::Degraded))
    }

    pub(super) fn is_unwell(self) -> bool {
        self == Self::Said(Condition::Unwell)
    }
}

impl<K, S> Slot<K, S> {
    pub(super) fn new(key: K, endpoint: Endpoint, original: S) -> Self {
        Self {
            key,
            endpoint,
            original,
            service: None,
            attempt: 0,
            checked: Checked::Off,
            stay: Stay::Wanted,
            reached: false,
            counted: 0,
            place: None,
            affairs: None,
        }
    }

    pub(super) fn serial(&self) -> u64 {
        self.endpoint.stats().serial()
    }

    /// What is the matter with it.
    pub(super) fn affairs(&self) -> &Affairs {
        static NONE: Affairs = Affairs::NONE;
        self.affairs.as_deref().unwrap_or(&NONE)
    }

    /// The same, to be changed; [`tidy`](Self::tidy) where nothing may be left.
    pub(super) fn affairs_mut(&mut self) -> &mut Affairs {
        self.affairs.get_or_insert_with(|| Box::new(Affairs::NONE))
    }

    /// Keeps nothing where nothing is the matter.
    pub(super) fn tidy(&mut self) {
        self.affairs.take_if(|affairs| affairs.are_none());
    }

    pub(super) fn health(&self) -> Health {
        self.affairs().health
    }

    /// Whether it is to be connected.
    pub(super) fn is_wanted(&self) -> bool {
        self.stay == Stay::Wanted
    }

    /// Leaves it alone: no requests, no connection, no attempt.
    pub(super) fn let_go(&mut self) {
        self.attempt = self.attempt.wrapping_add(1);
        self.service = None;
        self.reached = false;
        if let Some(affairs) = self.affairs.as_deref_mut() {
            affairs.failures = 0;
            affairs.since = None;
            affairs.listener = None;
            if let Some(dialing) = affairs.dialing.take() {
                dialing.abort();
            }
            if affairs.checker.take().is_some() {
                self.checked = Checked::Pending;
            }
        }
        self.tidy();
        self.endpoint.stats().bar(LOST);
    }

    /// Which part of its weight it has by `slow_start`.
    pub(super) fn warmth(&self, slow_start: &SlowStart, now: Instant) -> f64 {
        let age = self.affairs().since.map(|since| now.saturating_duration_since(since));
        slow_start.factor(age.unwrap_or_default())
    }

    /// Whether requests can reach it, ejected or not.
    pub(super) fn is_connected(&self) -> bool {
        self.service.is_some() && self.checked != Checked::Pending && self.endpoint.stats().is_open(LOST)
    }

    /// Whether it should take requests, if they reach it.
    pub(super) fn is_well(&self) -> bool {
        self.health() == Health::Well && !self.checked.is_unwell()
    }

    /// Whether others should take requests before it, by its own word or that of discovery.
    pub(super) fn is_degraded(&self) -> bool {
        self.endpoint.attributes().degraded || self.checked == Checked::Said(Condition::Degraded)
    }

    pub(super) fn listed(&self) -> Listed {
        let affairs = self.affairs();
        let state = match affairs.health {
            _ if self.stay == Stay::Leaving => State::Draining,
            _ if self.stay == Stay::Spare => State::Idle,
            _ if !self.is_connected() => State::Connecting,
            _ if self.checked.is_unwell() => State::Unhealthy,
            Health::Well if self.is_degraded() => State::Degraded,
            Health::Well => State::Ready,
            Health::Ejected => State::Ejected,
            Health::HalfOpen => State::HalfOpen,
        };
        Listed {
            endpoint: self.endpoint.clone(),
            state,
            last_error: affairs.last_error.clone(),
            ejected: affairs.reason,
            ejections: affairs.turn,
        }
    }

    /// What it did since this was asked last, if it is to be compared with others.
    pub(super) fn take_window(&mut self) -> Option<Window> {
        let window = self.endpoint.stats().take_window(&mut self.counted);
        (self.health() == Health::Well).then_some(window)
    }

    /// Counts one more ejection.
    pub(super) fn eject(&mut self, reason: Reason) {
        let affairs = self.affairs_mut();
        affairs.ejections = affairs.ejections.saturating_add(1);
        affairs.turn += 1;
        affairs.reason = Some(reason);
        affairs.slow = 0;
        affairs.health = Health::Ejected;
    }

    pub(super) fn readmit(&mut self) {
        let affairs = self.affairs_mut();
        affairs.health = Health::Well;
        affairs.reason = None;
        // What it did before is no reason to eject it again.
        let _ = self.endpoint.stats().take_window(&mut self.counted);
    }

    /// A clean interval shortens the next ejection.
    pub(super) fn relent(&mut self) {
        if self.health() == Health::Well
            && let Some(affairs) = self.affairs.as_deref_mut()
        {
            affairs.ejections = affairs.ejections.saturating_sub(1);
        }
    }

    /// Counts one more interval in which it was too slow, or that it was not; how many there were in a row.
    pub(super) fn slow(&mut self, slow: bool) -> u32 {
        if slow {
            self.affairs_mut().slow += 1;
        } else if let Some(affairs) = self.affairs.as_deref_mut() {
            affairs.slow = 0;
            self.tidy();
        }
        self.affairs().slow
    }
}
