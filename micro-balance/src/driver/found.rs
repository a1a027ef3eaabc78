//! Which endpoints there are, as discovery tells it.

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use tokio::time::Instant;
use tower::discover::Change;

use super::{
    Event, State,
    slot::{Checked, Slot, Stay},
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
        match change {
            Change::Insert(key, service) => self.insert(key, service),
            Change::Remove(key) => {
                self.dirty.get_or_insert_with(Instant::now);
                if let Some(mut slot) = self.slots.remove(&key) {
                    let serial = slot.serial();
                    self.roster.gone(slot.endpoint.clone(), slot.place);
                    self.regroup = true;
                    match self.driver.drain {
                        Some(time) if slot.is_connected() => self.drain(serial, slot, time),
                        _ => slot.let_go(),
                    }
                    tracing::debug!(service = self.driver.name.as_deref(), endpoint = ?key, "endpoint removed");
                }
            }
        }
    }

    /// Discovery says nothing any more.
    pub(super) fn on_over(&mut self, error: Option<String>) {
        let service = self.driver.name.as_deref();
        let why = match error {
            Some(error) => {
                tracing::warn!(service, error, "discovery failed, its last answer stays");
                format!("discovery failed: {error}")
            }
            None => {
                tracing::debug!(service, "discovery ended, its last answer stays");
                "discovery has ended".to_owned()
            }
        };
        // Where somebody is known, nobody has to be told.
        if self.slots.len() == 0 {
            self.dirty.get_or_insert_with(Instant::now);
            self.over = Some(why);
        }
    }

    /// Leaves an endpoint to the sessions it has, for a while.
    fn drain(&mut self, serial: u64, mut slot: Slot<K, S>, time: Duration) {
        slot.stay = Stay::Leaving;
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
        let serial = match self.slots.serial(&key) {
            Some(serial) => self.renew(serial, attributes, service),
            None => self.found(key, attributes, service),
        };
        let Some(serial) = serial else { return };
        self.touch(serial);
        self.regroup = true;
        if self.slots.get(serial).is_some_and(Slot::is_wanted) {
            self.start(serial, Duration::ZERO);
        }
    }

    /// Takes what discovery says anew of an endpoint that is known.
    fn renew(&mut self, serial: u64, attributes: Attributes, service: S) -> Option<u64> {
        let slot = self.slots.get_mut(serial)?;
        if *slot.endpoint.attributes() != attributes {
            slot.endpoint = Endpoint::new(About::new(attributes), slot.endpoint.stats().clone());
        }
        slot.original = service;
        let affairs = slot.affairs_mut();
        affairs.failures = 0;
        affairs.checker = None;
        affairs.listener = None;
        slot.tidy();
        Some(serial)
    }

    /// Takes a new endpoint, and gives its serial number; `None` where there is no room for one more.
    fn found(&mut self, key: K, attributes: Attributes, service: S) -> Option<u64> {
        // Sessions go on with the one that is back.
        self.leaving.retain(|_, slot| slot.key != key);
        let id = format!("{key:?}");
        let id = id.strip_prefix('"').and_then(|id| id.strip_suffix('"')).unwrap_or(&id).into();
        tracing::debug!(service = self.driver.name.as_deref(), endpoint = ?key, "endpoint found");
        let (about, home) = (self.about(attributes), self.home.clone());
        let checked = if self.driver.supervisor.is_some() { Checked::Pending } else { Checked::Off };
        let stay = if self.takes_all() { Stay::Wanted } else { Stay::Spare };
        let serial = self.slots.insert(|serial| {
            let endpoint = Endpoint::new(about, Arc::new(Stats::new(serial, id, home)));
            let mut slot = Slot::new(key, endpoint, service);
            (slot.checked, slot.stay) = (checked, stay);
            slot
        });
        if serial.is_none() {
            let known = self.slots.len();
            tracing::error!(
                service = self.driver.name.as_deref(),
                known,
                "too many endpoints: one more is left out"
            );
        }
        self.unready_since = Instant::now();
        serial
    }

    /// What is said of a new endpoint: that it is like the one before is mostly all there is to say.
    fn about(&mut self, attributes: Attributes) -> Arc<About> {
        if *self.about.attributes() != attributes {
            self.about = About::new(attributes);
        }
        self.about.clone()
    }
}
