//! Ejection: who is left out, for how long, and how they come back.

use std::{fmt, hash::Hash, time::Duration};

use super::{
    Event, State,
    slot::{Health, Slot},
};
use crate::{caught, eject::Reason, policy::Policy, stats::EJECTED};

/// How long an endpoint may take to say how it is.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

impl<K, S, P, T> State<K, S, P, T>
where
    K: Hash + Eq + Clone + fmt::Debug + Send,
    S: Clone + Send + Sync + 'static,
    P: Policy,
    T: Send + Sync + 'static,
{
    pub(super) fn await_interval(&mut self) {
        if let Some(interval) = self.driver.settings.ejection.every() {
            self.after(interval, Event::Interval);
        }
    }

    /// Compares what the endpoints did since the last time, and ejects those that did worse than the others. The
    /// others get one of their ejections back.
    pub(super) fn on_interval(&mut self) {
        self.await_interval();
        let serials = self.slots.serials();
        let windows: Vec<_> = serials
            .iter()
            .map(|&serial| self.slots.get_mut(serial).and_then(|slot| slot.take_window()))
            .collect();
        let settings = self.driver.settings.clone();
        for (place, reason) in settings.ejection.outliers(&windows) {
            if let Some(&serial) = serials.get(place) {
                self.outlier(serial, reason);
            }
        }
        if let Some((slow, needed)) = settings.ejection.slow(&windows) {
            for (place, &serial) in serials.iter().enumerate() {
                let Some(slot) = self.slots.get_mut(serial) else { continue };
                if slot.slow(slow.contains(&place)) >= needed {
                    self.outlier(serial, Reason::Latency);
                }
            }
        }
        // Last, so that whoever is found again in the next interval is out for longer.
        self.slots.values_mut().for_each(Slot::relent);
    }

    /// An endpoint failed as often in a row as is allowed.
    pub(super) fn on_failing(&mut self, serial: u64, reason: Reason) {
        let Some(slot) = self.slots.get(serial) else { return };
        slot.endpoint.stats().heard();
        self.outlier(serial, reason);
    }

    /// Ejects an endpoint that a detector has found, unless chance or the number of those ejected spares it.
    fn outlier(&mut self, serial: u64, reason: Reason) {
        let settings = &self.driver.settings;
        // Who is left out by a subset, or by a policy that has one at a time, is nobody to go to instead.
        let used = || self.slots.values().filter(|slot| slot.is_wanted());
        let (ejected, total) = (used().filter(|slot| slot.health() != Health::Well).count(), used().count());
        let Some(slot) = self.slots.get(serial).filter(|slot| slot.health() == Health::Well) else { return };
        let enforced = settings.ejection.enforces(reason, self.driver.chance.fraction());
        let allowed = settings.ejection.allows(ejected, total);
        // Spared until it happens once more; another row may be long enough all the same.
        let other = if enforced { None } else { slot.endpoint.stats().spare(reason) };
        if enforced && allowed {
            self.eject(serial, reason);
        } else {
            settings.tally.count(reason, false);
            tracing::debug!(service = self.driver.name.as_deref(), endpoint = ?slot.key, %reason, enforced, ejected, "endpoint does badly and is not ejected");
        }
        if let Some(other) = other {
            self.outlier(serial, other);
        }
    }

    fn eject(&mut self, serial: u64, reason: Reason) {
        let Some(slot) = self.slots.get_mut(serial) else { return };
        let settings = &self.driver.settings;
        slot.eject(reason);
        let (times, turn) = (slot.affairs().ejections, slot.affairs().turn);
        let time = settings.ejection.jittered(times, self.driver.chance.fraction());
        slot.endpoint.stats().bar(EJECTED);
        settings.tally.count(reason, true);
        tracing::info!(service = self.driver.name.as_deref(), endpoint = ?slot.key, %reason, ?time, times, "endpoint ejected");
        self.after(time, Event::EjectionOver(serial, turn));
        self.touch(serial);
    }

    /// Finds out whether an ejected endpoint is well: by a probe, or by the next request.
    pub(super) fn on_ejection_over(&mut self, serial: u64, turn: u64) {
        let Some(slot) = self
            .slots
            .get_mut(serial)
            .filter(|slot| slot.affairs().turn == turn && slot.health() == Health::Ejected)
        else {
            return;
        };
        if let Some(probe) = &self.driver.probe {
            let (probe, service) = (probe.clone(), slot.original.clone());
            let asked = caught::answer("the probe", move || probe(service));
            let probe = tokio::time::timeout(PROBE_TIMEOUT, asked);
            self.events.push(Box::pin(async move {
                Event::Probed(serial, probe.await.unwrap_or_else(|late| Err(late.into())))
            }));
        } else {
            slot.affairs_mut().health = Health::HalfOpen;
            let time = self.driver.settings.ejection.time(1);
            self.after(time, Event::Untried(serial, turn));
            self.touch(serial);
        }
    }

    /// Takes an endpoint that nobody came to try for well, unless somebody still waits for it.
    pub(super) fn on_untried(&mut self, serial: u64, turn: u64) {
        let is_it = |slot: &&Slot<K, S>| slot.affairs().turn == turn && slot.health() == Health::HalfOpen;
        let Some(slot) = self.slots.get(serial).filter(is_it) else { return };
        if slot.endpoint.stats().is_probed() {
            let time = self.driver.settings.ejection.time(1);
            self.after(time, Event::Untried(serial, turn));
        } else {
            self.readmit(serial);
        }
    }

    /// Takes what a probe, or the one request let through, has found out.
    pub(super) fn decide(&mut self, serial: u64, well: bool) {
        let Some(slot) = self.slots.get(serial).filter(|slot| slot.health() != Health::Well) else { return };
        let reason = slot.affairs().reason.unwrap_or(Reason::Failures);
        if well { self.readmit(serial) } else { self.eject(serial, reason) }
    }

    pub(super) fn readmit(&mut self, serial: u64) {
        let Some(slot) = self.slots.get_mut(serial) else { return };
        slot.readmit();
        slot.endpoint.stats().forgive();
        slot.endpoint.stats().unbar(EJECTED);
        tracing::info!(service = self.driver.name.as_deref(), endpoint = ?slot.key, "endpoint readmitted");
        self.touch(serial);
    }
}
