//! Makes a snapshot of what the driver knows, and swaps it in.

use std::sync::{Weak, atomic::Ordering::Release};

use tokio::time::Instant;

use super::slot::{Checked, Health, Slot};
use crate::{
    eligible::{Candidate, Eligibility, SlowStart, Standing},
    endpoint::Endpoint,
    policy::Policy,
    snapshot::{Group, Shared, Shares, Snapshot},
    stats::{EJECTED, LOST, UNWELL},
};

impl<S: Clone, P: Policy> Snapshot<S, P> {
    /// The snapshot from before discovery has answered.
    pub(crate) fn unresolved(now: Instant) -> Self {
        Self {
            groups: Box::default(),
            shares: Shares::default(),
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
        eligibility: &Eligibility,
        panic: u32,
        unready_since: Instant,
    ) -> Self
    where
        S: 'a,
    {
        let mut slots: Vec<_> = slots.collect();
        slots.sort_by(|a, b| a.endpoint.id().cmp(b.endpoint.id()));
        let known = slots.iter().map(|slot| slot.listed()).collect();
        slots.retain(|slot| slot.wanted);
        let candidates: Vec<_> = slots.iter().map(|slot| slot.candidate()).collect();
        let eligible = eligibility.plan(&candidates, panic);
        let warm = Warm { slow_start: eligibility.slow_start.as_ref(), now: Instant::now() };
        let groups: Box<[_]> = eligible
            .groups
            .iter()
            .map(|plan| {
                let members = || plan.members.iter().filter_map(|&index| slots.get(index).copied());
                let endpoints: Box<[_]> = members().map(|slot| warm.endpoint(slot)).collect();
                Group {
                    table: policy.table(&endpoints),
                    services: members().filter_map(|slot| slot.service.clone()).collect(),
                    endpoints,
                    mask: if plan.panic { LOST } else { LOST | EJECTED | UNWELL },
                    marks: plan.marks,
                }
            })
            .collect();
        let out = eligible.out.iter().filter_map(|&index| slots.get(index).copied());
        Self {
            shares: Shares::new(eligible.groups.iter().map(|plan| plan.share)),
            half_open: out
                .filter(|slot| slot.health == Health::HalfOpen && slot.checked != Checked::Unwell)
                .filter_map(|slot| Some((slot.endpoint.clone(), slot.service.clone()?)))
                .collect(),
            known,
            resolved: true,
            unready_since: groups.is_empty().then_some(unready_since),
            groups,
        }
    }
}

/// Who is still new.
struct Warm<'a> {
    slow_start: Option<&'a SlowStart>,
    now: Instant,
}

impl Warm<'_> {
    fn endpoint<K, S>(&self, slot: &Slot<K, S>) -> Endpoint {
        match self.slow_start.map_or(1.0, |slow_start| slot.warmth(slow_start, self.now)) {
            1.0 => slot.endpoint.clone(),
            warmth => slot.endpoint.warming(warmth),
        }
    }
}

impl<K, S> Slot<K, S> {
    fn candidate(&self) -> Candidate<'_> {
        let standing = match (self.is_connected(), self.is_well()) {
            (true, true) => Standing::Well,
            (true, false) => Standing::Out,
            (false, _) if self.service.is_none() && self.failures == 0 => Standing::New,
            (false, _) => Standing::Unreached,
        };
        Candidate { attributes: self.endpoint.attributes(), standing }
    }
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
