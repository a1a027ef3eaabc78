//! Which of the known endpoints are to be connected.

use std::{fmt, hash::Hash, time::Duration};

use super::{State, race::Race, slot::Stay};
use crate::{endpoint::Endpoint, policy::Policy};

impl<K, S, P, T> State<K, S, P, T>
where
    K: Hash + Eq + Clone + fmt::Debug + Send,
    S: Clone + Send + Sync + 'static,
    P: Policy,
    T: Send + Sync + 'static,
{
    /// Whether every endpoint is connected as soon as it is known.
    pub(super) fn takes_all(&self) -> bool {
        self.driver.eligibility.subset.is_none() && !self.races()
    }

    fn races(&self) -> bool {
        self.driver.shared.upgrade().is_some_and(|shared| shared.policy.turns(&[]).is_some())
    }

    /// Works out which endpoints are wanted; false when there is no balancer any more.
    pub(super) fn regroup(&mut self) -> bool {
        let Some(shared) = self.driver.shared.upgrade() else { return false };
        if self.takes_all() {
            return true;
        }
        let members = self.members();
        match shared.policy.turns(&self.endpoints(&members)) {
            Some(turns) => {
                let mut order: Vec<_> =
                    turns.order.iter().filter_map(|&index| members.get(index).copied()).collect();
                // Drained ones last, and of the others the first priority first.
                order.sort_by_key(|&serial| {
                    let attributes = self.slots.get(serial).map(|slot| slot.endpoint.attributes());
                    attributes.map(|attributes| (attributes.weight == 0, attributes.priority))
                });
                self.take_turns(Race::new(order, turns.delay));
            }
            None if self.driver.eligibility.subset.is_some() => self.take(&members),
            None => {}
        }
        true
    }

    /// The serial numbers of those that subsetting leaves, in the order in which discovery named them.
    fn members(&self) -> Vec<u64> {
        let Some(subset) = &self.driver.eligibility.subset else { return self.slots.serials() };
        let mut slots: Vec<_> = self.slots.values().collect();
        slots.sort_by(|a, b| a.endpoint.place().cmp(&b.endpoint.place()));
        let ids: Vec<_> = slots.iter().map(|slot| slot.endpoint.id()).collect();
        let chosen = subset.choose(&ids).into_iter().filter_map(|index| slots.get(index));
        let mut serials: Vec<_> = chosen.map(|slot| slot.serial()).collect();
        serials.sort_unstable();
        serials
    }

    fn endpoints(&self, serials: &[u64]) -> Vec<Endpoint> {
        serials.iter().filter_map(|&serial| Some(self.slots.get(serial)?.endpoint.clone())).collect()
    }

    /// Connects `members`, and lets all others go.
    fn take(&mut self, members: &[u64]) {
        for serial in self.slots.serials() {
            let wanted = members.contains(&serial);
            let Some(slot) = self.slots.get_mut(serial).filter(|slot| slot.is_wanted() != wanted) else {
                continue;
            };
            slot.stay = if wanted { Stay::Wanted } else { Stay::Spare };
            if wanted {
                self.start(serial, Duration::ZERO);
            } else {
                slot.let_go();
            }
        }
    }
}
