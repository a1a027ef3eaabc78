//! Makes a snapshot of what the driver knows, and swaps it in.
//!
//! Where a few endpoints have changed in a set that is chosen from as a whole, the snapshot is made of the one
//! before it (`roster.rs`); else of everything, step by step.

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, atomic::Ordering::Release},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    BATCH, Event, REST, State,
    census::Place,
    slot::{Health, Slot},
};
use crate::{
    eligible::{Candidate, Marks, Panic, SlowStart, Standing},
    endpoint::Endpoint,
    policy::{Policy, Turnover},
    saturating::{end, scale},
    snapshot::{Group, Groups, Members, Shares, Snapshot},
    stats::{EJECTED, LOST, UNWELL},
};

/// How long the driver waits for requests to let go of a snapshot that was replaced.
const WHILE: Duration = Duration::from_millis(10);
/// The bars that count where nobody panics.
const CALM: u8 = LOST | EJECTED | UNWELL;

impl<S, P: Policy> Snapshot<S, P> {
    /// The snapshot from before discovery has answered.
    pub(crate) fn unresolved(now: Instant) -> Self {
        Self {
            groups: Groups::default(),
            shares: Shares::default(),
            half_open: Box::default(),
            draining: Members::default(),
            noted: Box::default(),
            known: 0,
            resolved: false,
            refuses: false,
            unready_since: Some(now),
        }
    }
}

impl<K, S, P, T> State<K, S, P, T>
where
    K: Hash + Eq + Clone + fmt::Debug + Send,
    S: Clone + Send + Sync + 'static,
    P: Policy,
    T: Send + Sync + 'static,
{
    /// Swaps a new snapshot in and wakes who waits for it; false when there is no balancer any more.
    pub(super) fn publish(&mut self) -> bool {
        if std::mem::take(&mut self.regroup) && !self.regroup() {
            return false;
        }
        let Some(shared) = self.driver.shared.upgrade() else { return false };
        self.dirty = None;
        self.published = Instant::now();
        let has_ready = self.slots.values().any(|slot| slot.is_connected());
        if std::mem::replace(&mut self.had_ready, has_ready) && !has_ready {
            self.unready_since = self.published;
        }
        let snapshot = match self.amended(&shared.policy) {
            Some(snapshot) => snapshot,
            None => self.anew(&shared.policy, &shared.snapshot.load()),
        };
        let snapshot = Arc::new(snapshot);
        let before = shared.snapshot.swap(snapshot.clone());
        if let Some(why) = self.over.take() {
            shared.over.end_discovery(why);
        }
        shared.version.fetch_add(1, Release);
        shared.changed.notify_waiters();
        if self.roster.published(snapshot, before) {
            self.after(WHILE, Event::LetGo);
        }
        // Clients that learnt of a change at the same moment are not to look at loads in step from then on.
        let refresh =
            shared.policy.refresh().map(|step| scale(step, 0.75 + 0.5 * self.driver.chance.fraction()));
        let steps = self.warming().into_iter().chain(refresh).map(|step| end(self.published, step));
        self.refresh = steps.chain(self.waits.next()).min();
        self.pace = BATCH.max((1 + REST) * self.published.elapsed());
        true
    }

    /// How soon weights have changed, while an endpoint is new.
    fn warming(&self) -> Option<Duration> {
        let slow_start = self.driver.eligibility.slow_start.as_ref()?;
        let mut slots = self.slots.values().filter(|slot| slot.is_connected());
        let new = slots.any(|slot| slot.warmth(slow_start, self.published) < 1.0);
        new.then(|| slow_start.step())
    }

    /// The last snapshot with what has changed since, if that is all it takes.
    fn amended(&mut self, policy: &P) -> Option<Snapshot<S, P>> {
        if !(self.driver.eligibility.is_plain() && self.takes_all() && self.leaving.is_empty()) {
            return None;
        }
        let amended = self.roster.amend(&mut self.slots, |level| {
            let panic = self.driver.settings.ejection.panic_threshold();
            let loads = self.driver.eligibility.priority.loads(&[level], panic);
            loads.iter().all(|load| !load.panic && load.healthy > 0 && load.degraded == 0)
        })?;
        let group = amended.before.groups.first()?;
        let turnover = Turnover::new(
            &group.members.endpoints,
            &amended.members.endpoints,
            &amended.left,
            &amended.joined,
        );
        let table = policy.update(&group.table, &turnover);
        let table = table.unwrap_or_else(|| policy.table(&amended.members.endpoints));
        let noted = || self.roster.noted().filter_map(|serial| self.slots.get(serial));
        let degraded = noted().filter(|slot| slot.standing() == Standing::Degraded);
        let draining: Members<S> = degraded.filter_map(member).collect();
        let group = Group { members: amended.members, table, mask: CALM, marks: Marks::default() };
        Some(Snapshot {
            groups: Groups::new(vec![group], !draining.endpoints.is_empty()),
            shares: Shares::new([1].into_iter()),
            half_open: noted().filter_map(half_open).collect(),
            draining,
            noted: noted().map(Slot::listed).collect(),
            known: self.slots.len(),
            resolved: true,
            refuses: false,
            unready_since: None,
        })
    }

    /// The snapshot of everything, in the order of ids.
    fn anew(&mut self, policy: &P, before: &Snapshot<S, P>) -> Snapshot<S, P> {
        let eligibility = &self.driver.eligibility;
        let mut slots: Vec<&Slot<K, S>> = self.slots.values().collect();
        slots.sort_by(|a, b| a.endpoint.place().cmp(&b.endpoint.place()));
        slots.retain(|slot| slot.is_wanted());
        let candidates: Vec<_> = slots.iter().map(|slot| slot.candidate()).collect();
        let ejection = &self.driver.settings.ejection;
        let panic = Panic { percent: ejection.panic_threshold(), refuses: ejection.fails_in_panic() };
        let eligible = eligibility.plan(&candidates, panic, &mut self.waits);
        let warm = Warm { slow_start: eligibility.slow_start.as_ref(), now: Instant::now() };
        // Only where there is one group each is it clear which came from which.
        let before = match (&*before.groups, &*eligible.groups) {
            ([before], [_]) => Some(before),
            _ => None,
        };
        let groups: Vec<Group<S, P>> = eligible
            .groups
            .iter()
            .map(|plan| {
                let members = || plan.members.iter().filter_map(|&index| slots.get(index).copied());
                // Just enough room: there may be many.
                let mut endpoints = Vec::with_capacity(plan.members.len());
                endpoints.extend(members().map(|slot| warm.endpoint(slot)));
                let mut services = Vec::with_capacity(plan.members.len());
                services.extend(members().filter_map(|slot| slot.service.clone()));
                Group {
                    table: table(policy, before, &endpoints),
                    members: Members { endpoints, services },
                    mask: if plan.panic { LOST } else { CALM },
                    marks: plan.marks,
                }
            })
            .collect();
        let out = eligible.out.iter().filter_map(|&index| slots.get(index).copied());
        let (shares, half_open) =
            (Shares::new(eligible.groups.iter().map(|plan| plan.share)), out.filter_map(half_open).collect());
        // They are in no group unless there is nobody else.
        let apart = !groups.iter().any(|group| group.marks.has(Marks::DRAINED));
        let is_drained =
            |slot: &Slot<K, S>| apart && slot.placed().drained && slot.standing() == Standing::Well;
        // So are degraded ones, or else have a part of the requests.
        let drained =
            slots.iter().copied().filter(|slot| is_drained(slot) || slot.standing() == Standing::Degraded);
        let leaving = self.leaving.values().filter(|slot| slot.is_connected() && slot.is_well());
        let draining: Members<S> = drained.chain(leaving).filter_map(member).collect();
        let groups = Groups::new(groups, !draining.endpoints.is_empty());
        let plain = matches!(&*eligible.groups, [only] if !only.panic && only.marks.is_empty());
        self.roster.count(&mut self.slots, &groups, plain && eligibility.is_plain());
        Snapshot {
            shares,
            half_open,
            draining,
            noted: self
                .roster
                .noted()
                .filter_map(|serial| self.slots.get(serial))
                .chain(self.leaving.values())
                .map(Slot::listed)
                .collect(),
            known: self.slots.len(),
            resolved: true,
            refuses: eligible.refuses,
            unready_since: groups.is_empty().then_some(self.unready_since),
            groups,
        }
    }
}

/// The table of a set, from the group before it if that is quicker.
fn table<S, P: Policy>(policy: &P, before: Option<&Group<S, P>>, endpoints: &[Endpoint]) -> P::Table {
    let update = |before: &Group<S, P>| {
        let members = &before.members.endpoints;
        let (left, joined) = Turnover::between(members, endpoints);
        policy.update(&before.table, &Turnover::new(members, endpoints, &left, &joined))
    };
    before.and_then(update).unwrap_or_else(|| policy.table(endpoints))
}

/// An endpoint and its service.
fn member<K, S: Clone>(slot: &Slot<K, S>) -> Option<(Endpoint, S)> {
    Some((slot.endpoint.clone(), slot.service.clone()?))
}

/// Who may be found out about by one request at a time.
fn half_open<K, S: Clone>(slot: &Slot<K, S>) -> Option<(Endpoint, S)> {
    let open = slot.health() == Health::HalfOpen && !slot.checked.is_unwell() && slot.is_connected();
    Some((slot.endpoint.clone(), slot.service.clone().filter(|_| open)?))
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
        Candidate { attributes: self.endpoint.attributes(), standing: self.standing() }
    }

    fn standing(&self) -> Standing {
        match (self.is_connected(), self.is_well()) {
            (true, true) if self.is_degraded() => Standing::Degraded,
            (true, true) => Standing::Well,
            (true, false) => Standing::Out,
            (false, _) if self.service.is_none() && self.affairs().failures == 0 => Standing::New,
            (false, _) => Standing::Unreached,
        }
    }

    /// As what it counts right now.
    pub(super) fn placed(&self) -> Place {
        let attributes = self.endpoint.attributes();
        Place { standing: self.standing(), priority: attributes.priority, drained: attributes.weight == 0 }
    }
}
