//! Which of the known endpoints a snapshot offers: connected, not drained, first in priority, healthy.

use std::sync::{Weak, atomic::Ordering::Release};

use tokio::time::Instant;

use super::slot::{Health, Slot};
use crate::{
    eject::Ejection,
    policy::Policy,
    snapshot::{Shared, Snapshot},
    stats::{EJECTED, LOST},
};

impl<S: Clone, P: Policy> Snapshot<S, P> {
    /// The snapshot from before discovery has answered.
    pub(crate) fn unresolved(policy: &P, now: Instant) -> Self {
        Self {
            endpoints: Box::default(),
            services: Box::default(),
            table: policy.table(&[]),
            mask: LOST | EJECTED,
            half_open: Box::default(),
            known: Box::default(),
            resolved: false,
            unready_since: Some(now),
        }
    }

    /// The snapshot of `slots`, in the order of their ids.
    pub(super) fn of<'a, K: 'a>(
        slots: impl Iterator<Item = &'a Slot<K, S>>,
        policy: &P,
        ejection: &Ejection,
        unready_since: Instant,
    ) -> Self
    where
        S: 'a,
    {
        let mut slots: Vec<_> = slots.collect();
        slots.sort_by(|a, b| a.endpoint.id().cmp(b.endpoint.id()));
        let known = slots.iter().map(|slot| slot.listed()).collect();
        let chosen =
            first_priority(undrained(slots.into_iter().filter(|slot| slot.is_connected()).collect()));
        let healthy = chosen.iter().filter(|slot| slot.health == Health::Well).count();
        let panic = ejection.panics(healthy, chosen.len());
        let (open, out): (Vec<_>, Vec<_>) =
            chosen.into_iter().partition(|slot| panic || slot.health == Health::Well);
        let endpoints: Box<[_]> = open.iter().map(|slot| slot.endpoint.clone()).collect();
        Self {
            table: policy.table(&endpoints),
            services: open.iter().filter_map(|slot| slot.service.clone()).collect(),
            mask: if panic { LOST } else { LOST | EJECTED },
            half_open: out
                .iter()
                .filter(|slot| slot.health == Health::HalfOpen)
                .filter_map(|slot| Some((slot.endpoint.clone(), slot.service.clone()?)))
                .collect(),
            known,
            resolved: true,
            unready_since: endpoints.is_empty().then_some(unready_since),
            endpoints,
        }
    }
}

type Slots<'a, K, S> = Vec<&'a Slot<K, S>>;

/// Without those of weight 0, unless there are no others.
fn undrained<K, S>(slots: Slots<'_, K, S>) -> Slots<'_, K, S> {
    let weighs = |slot: &&Slot<K, S>| slot.endpoint.attributes().weight > 0;
    if slots.iter().any(weighs) { slots.into_iter().filter(weighs).collect() } else { slots }
}

/// Those of the lowest priority number.
fn first_priority<K, S>(slots: Slots<'_, K, S>) -> Slots<'_, K, S> {
    let priority = |slot: &&Slot<K, S>| slot.endpoint.attributes().priority;
    let first = slots.iter().map(priority).min();
    slots.into_iter().filter(|slot| Some(priority(slot)) == first).collect()
}

/// Swaps the snapshot in and wakes who waits for it; false when there is no balancer any more.
pub(super) fn publish<S, P: Policy, T>(
    shared: &Weak<Shared<S, P, T>>,
    make: impl FnOnce(&Shared<S, P, T>) -> Snapshot<S, P>,
) -> bool {
    let Some(shared) = shared.upgrade() else { return false };
    let snapshot = make(&shared);
    shared.snapshot.store(snapshot.into());
    shared.version.fetch_add(1, Release);
    shared.changed.notify_waiters();
    true
}
