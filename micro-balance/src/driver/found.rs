//! Which endpoints there are, as discovery tells it.

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use tokio::time::Instant;
use tower::discover::Change;

use super::{
    Event, State,
    slot::{Checked, Slot},
};
use crate::{
    caught,
    endpoint::{About, Attributes, Endpoint},
    policy::Policy,
    stats::Stats,
};

impl<K, S, P, T> State<K, S, P, T>
where
    K: Hash + Eq + Clone + fmt::Debug + Send,
    S: Clone + Send + Sync + 'static,
    P: Policy,
    T: Send + Sync + 'static,
{
    pub(super) fn on_change(&mut self, change: Change<K, S>) {
        self.resolved = true;
        match change {
            Change::Insert(key, service) => self.insert(key, service),
            Change::Remove(key) => {
                self.dirty.get_or_insert_with(Instant::now);
                if let Some(serial) = self.serials.remove(&key)
                    && let Some(mut slot) = self.slots.remove(&serial)
                {
                    self.roster.gone(slot.endpoint.clone(), slot.place);
                    self.regroup = true;
                    match self.driver.drain {
                        Some(time) if slot.is_connected() => self.drain(serial, *slot, time),
                        _ => slot.let_go(),
                    }
                    tracing::debug!(service = self.driver.name.as_deref(), endpoint = ?key, "endpoint removed");
                }
            }
        }
    }

    /// Leaves an endpoint to the sessions it has, for a while.
    fn drain(&mut self, serial: u64, mut slot: Slot<K, S>, time: Duration) {
        slot.leaving = true;
        self.leaving.insert(serial, slot);
        self.touch_all();
        self.after(time, Event::Drained(serial));
    }

    /// The time of an endpoint that was left to its sessions is over.
    pub(super) fn on_drained(&mut self, serial: u64) {
        if let Some(mut slot) = self.leaving.remove(&serial) {
            slot.let_go();
            self.touch_all();
        }
    }

    /// Takes a new endpoint, or a known one that has changed: that keeps its figures, and the service it
    /// has until the new one is ready.
    fn insert(&mut self, key: K, service: S) {
        let described = caught::at_once("what tells attributes", || (self.driver.describe)(&key, &service));
        let attributes = described.unwrap_or_else(|error| {
            tracing::error!(service = self.driver.name.as_deref(), endpoint = ?key, %error, "endpoint taken as one without attributes");
            Attributes::default()
        });
        let serial = match self.serials.get(&key) {
            Some(&serial) => serial,
            None => self.next_serial,
        };
        if let Some(slot) = self.slots.get_mut(&serial) {
            if *slot.endpoint.attributes() != attributes {
                slot.endpoint = Endpoint::new(About::new(attributes), slot.endpoint.stats().clone());
            }
            slot.original = service;
            slot.failures = 0;
            slot.checker = None;
            slot.listener = None;
        } else {
            self.next_serial += 1;
            // Sessions go on with the one that is back.
            self.leaving.retain(|_, slot| slot.key != key);
            let id = format!("{key:?}");
            let id = id.strip_prefix('"').and_then(|id| id.strip_suffix('"')).unwrap_or(&id).into();
            let stats = Arc::new(Stats::new(serial, id, self.home.clone()));
            tracing::debug!(service = self.driver.name.as_deref(), endpoint = ?key, "endpoint found");
            self.serials.insert(key.clone(), serial);
            let mut slot = Slot::new(key, Endpoint::new(self.about(attributes), stats), service);
            if self.driver.supervisor.is_some() {
                slot.checked = Checked::Pending;
            }
            slot.wanted = self.takes_all();
            self.slots.insert(serial, Box::new(slot));
            self.unready_since = Instant::now();
        }
        self.touch(serial);
        self.regroup = true;
        if self.slots.get(&serial).is_some_and(|slot| slot.wanted) {
            self.start(serial, Duration::ZERO);
        }
    }
    /// What is said of a new endpoint: that it is like the one before is mostly all there is to say.
    fn about(&mut self, attributes: Attributes) -> Arc<About> {
        if *self.about.attributes() != attributes {
            self.about = About::new(attributes);
        }
        self.about.clone()
    }
}
