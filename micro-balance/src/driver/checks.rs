//! Active health checks, who is asked and what becomes of the answers; and who is listened to.

use std::{fmt, hash::Hash};

use tokio::time::Instant;

use super::{
    State,
    slot::{Checked, Health},
};
use crate::{
    condition::Condition,
    policy::Policy,
    shared::AbortOnDrop,
    stats::{Stats, UNWELL},
};

impl<K, S, P, T> State<K, S, P, T>
where
    K: Hash + Eq + Clone + fmt::Debug + Send,
    S: Clone + Send + Sync + 'static,
    P: Policy,
    T: Send + Sync + 'static,
{
    /// Starts to check an endpoint that is connected; at once again if it was unwell, as it may be another now.
    pub(super) fn check(&mut self, serial: u64) {
        let Some(supervisor) = &self.driver.supervisor else { return };
        let Some(slot) = self.slots.get_mut(serial) else { return };
        if slot.affairs().checker.is_some() && !slot.checked.is_unwell() {
            return;
        }
        let stats = slot.endpoint.stats().clone();
        let checks = supervisor.clone().run(slot.original.clone(), stats, self.driver.chance.clone());
        slot.affairs_mut().checker = Some(AbortOnDrop(tokio::spawn(checks).abort_handle()));
    }

    /// Listens to an endpoint that is connected, unless somebody does already: one that had nothing to say before it was
    /// connected anew may be another now.
    pub(super) fn listen(&mut self, serial: u64) {
        let Some(listener) = &self.driver.listener else { return };
        let Some(slot) = self.slots.get_mut(serial) else { return };
        if slot.affairs().listener.as_ref().is_some_and(|listening| !listening.0.is_finished()) {
            return;
        }
        let stats = slot.endpoint.stats().clone();
        let listening = listener.clone().run(slot.original.clone(), stats, self.driver.chance.clone());
        slot.affairs_mut().listener = Some(AbortOnDrop(tokio::spawn(listening).abort_handle()));
    }

    /// An endpoint's health has changed.
    pub(super) fn on_checked(&mut self, serial: u64, condition: Condition) {
        let Some(slot) = self.slots.get_mut(serial).filter(|slot| slot.checked != Checked::Off) else {
            return;
        };
        let readmits =
            self.driver.supervisor.as_ref().is_some_and(|checks| checks.schedule().is_readmitting());
        let well = condition != Condition::Unwell;
        let before = std::mem::replace(&mut slot.checked, Checked::Said(condition));
        if well && !before.is_well() && self.driver.eligibility.slow_start.is_some() {
            // However long it was connected and had no requests, only now it begins to warm up.
            slot.affairs_mut().since = Some(Instant::now());
        }
        let stats = slot.endpoint.stats();
        let mark = if well { Stats::unbar } else { Stats::bar };
        mark(stats, UNWELL);
        tracing::info!(service = self.driver.name.as_deref(), endpoint = ?slot.key, ?condition, "endpoint checked");
        if well && readmits && slot.health() != Health::Well {
            self.readmit(serial);
        }
        self.touch(serial);
    }
}
