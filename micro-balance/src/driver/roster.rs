//! Who stands where in the last snapshot, so that the next one costs what has changed and not what there is.
//!
//! The arrays of the snapshot before the last are used again, brought up to date, once nobody picks from it any
//! more: nothing is copied then, and no endpoint is counted anew.

use std::{collections::BTreeSet, mem, sync::Arc};

use super::{
    census::{Census, Place},
    edit::Edit,
    slots::Slots,
};
use crate::{
    eligible::{Standing, priority::Level},
    endpoint::Endpoint,
    policy::Policy,
    snapshot::{Group, Members, Snapshot},
};

/// Of more changes than this at once a snapshot is made anew: each moves a part of the arrays.
const FEW: usize = 64;

/// What the last snapshot was made of.
pub(super) struct Roster<S, P: Policy> {
    /// Serial numbers of those that have changed since, and who is gone.
    changed: Vec<u64>,
    gone: Vec<(Endpoint, Option<Place>)>,
    /// Whether it is one group of everybody who is well, and only what is known to have changed has.
    plain: bool,
    census: Census,
    /// Of whom there is more to say than that they are well, in the order of ids.
    noted: BTreeSet<(Arc<str>, u64)>,
    current: Option<Arc<Snapshot<S, P>>>,
    /// What made the members of the current snapshot of those before.
    edits: Vec<Edit<S>>,
    /// The one before while somebody may be picking from it, and what its members lack.
    late: Option<Late<S, P>>,
    /// The members of the current snapshot once more, in arrays that were used before.
    spare: Option<Members<S>>,
}

/// A snapshot that was replaced, and what its members lack.
type Late<S, P> = (Arc<Snapshot<S, P>>, Vec<Edit<S>>);

/// The members of the next snapshot, and how they came from those before.
pub(super) struct Amended<S, P: Policy> {
    pub(super) before: Arc<Snapshot<S, P>>,
    pub(super) members: Members<S>,
    /// Indexes among the members before, ascending.
    pub(super) left: Vec<usize>,
    /// Indexes among the members, ascending.
    pub(super) joined: Vec<usize>,
}

impl<S: Clone, P: Policy> Roster<S, P> {
    pub(super) fn changed(&mut self, serial: u64) {
        if self.plain {
            self.changed.push(serial);
        }
        self.plain &= self.changed.len() <= FEW;
    }

    pub(super) fn all_changed(&mut self) {
        self.plain = false;
    }

    pub(super) fn gone(&mut self, endpoint: Endpoint, place: Option<Place>) {
        if self.plain {
            self.gone.push((endpoint, place));
        }
        self.plain &= self.gone.len() <= FEW;
    }

    /// Of whom there is more to say than that they are well.
    pub(super) fn noted(&self) -> impl Iterator<Item = u64> {
        self.noted.iter().map(|noted| noted.1)
    }

    /// The members of the last snapshot with what has changed since; `None` where everything is to be worked
    /// out, for one because `calm` does not say that all who are well take the requests.
    pub(super) fn amend<K>(
        &mut self,
        slots: &mut Slots<K, S>,
        calm: impl FnOnce(Level) -> bool,
    ) -> Option<Amended<S, P>> {
        let before = self.current.clone().filter(|before| self.plain && !before.groups.is_empty())?;
        let news = self.news(slots);
        if !self.census.level().is_some_and(|level| level.healthy > 0 && calm(level)) {
            return None;
        }
        self.reclaim();
        self.late = None;
        let members = self.spare.take();
        let mut members = members.unwrap_or_else(|| before.groups[0].members.clone());
        let old = &before.groups[0].members.endpoints;
        let (mut left, mut joined, mut shift) = (Vec::new(), Vec::new(), 0_isize);
        for (endpoint, service) in news {
            let found = old.binary_search_by(|it| it.place().cmp(&endpoint.place()));
            let place = found.unwrap_or_else(|place| place);
            let now = place.checked_add_signed(shift)?;
            let edit = match (found.is_ok(), service) {
                (true, Some(service)) => {
                    if !old.get(place)?.is_same(&endpoint) {
                        left.push(place);
                        joined.push(now);
                    }
                    Edit::Replace(now, endpoint, service)
                }
                (true, None) => {
                    left.push(place);
                    shift -= 1;
                    Edit::Remove(now)
                }
                (false, Some(service)) => {
                    joined.push(now);
                    shift += 1;
                    Edit::Insert(now, endpoint, service)
                }
                (false, None) => continue,
            };
            edit.clone().apply(&mut members);
            self.edits.push(edit);
        }
        Some(Amended { before, members, left, joined })
    }

    /// Takes the changes to account: those who changed in the order of ids, with a service if they are well.
    fn news<K>(&mut self, slots: &mut Slots<K, S>) -> Vec<(Endpoint, Option<S>)> {
        let mut news = Vec::new();
        for (endpoint, place) in mem::take(&mut self.gone) {
            self.census.replace(place, None);
            self.noted.remove(&(endpoint.shared_id().clone(), endpoint.stats().serial()));
            news.push((endpoint, None));
        }
        let mut changed = mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        for serial in changed {
            let Some(slot) = slots.get_mut(serial) else { continue };
            let place = slot.placed();
            self.census.replace(slot.place.replace(place), Some(place));
            let note = (slot.endpoint.shared_id().clone(), serial);
            if slot.listed().is_plain() {
                self.noted.remove(&note);
            } else {
                self.noted.insert(note);
            }
            let service = slot.service.clone().filter(|_| place.standing == Standing::Well);
            news.push((slot.endpoint.clone(), service));
        }
        news.sort_by(|a, b| a.0.place().cmp(&b.0.place()));
        news
    }

    /// Takes a snapshot of everything to account. `plain` says whether the next can be made of it.
    pub(super) fn count<K>(&mut self, slots: &mut Slots<K, S>, groups: &[Group<S, P>], plain: bool) {
        self.changed.clear();
        self.gone.clear();
        self.edits.clear();
        (self.late, self.spare, self.current) = (None, None, None);
        self.census = Census::default();
        let members: BTreeSet<u64> =
            groups.iter().flat_map(|group| &group.members.endpoints).map(|it| it.stats().serial()).collect();
        self.noted.clear();
        for slot in slots.values_mut() {
            let serial = slot.serial();
            let place = slot.placed();
            slot.place = Some(place);
            self.census.replace(None, Some(place));
            if !(members.contains(&serial) && slot.listed().is_plain()) {
                self.noted.insert((slot.endpoint.shared_id().clone(), serial));
            }
        }
        self.plain = plain && self.census.level().is_some();
    }

    /// The snapshot that is current from now on, and the one it has replaced; whether somebody picks from that.
    pub(super) fn published(&mut self, current: Arc<Snapshot<S, P>>, before: Arc<Snapshot<S, P>>) -> bool {
        let edits = mem::take(&mut self.edits);
        if !self.plain {
            return false;
        }
        // What was made anew has nothing in common with what was there before.
        if self.current.replace(current).is_some() {
            self.late = Some((before, edits));
        }
        !self.reclaim()
    }

    /// Takes the arrays of the snapshot before if nobody picks from it any more; false while somebody does.
    fn reclaim(&mut self) -> bool {
        let Some((before, edits)) = self.late.take() else { return true };
        match Arc::try_unwrap(before) {
            Ok(before) => {
                self.spare = before.groups.into_first().map(|group| {
                    let mut members = group.members;
                    edits.into_iter().for_each(|edit| edit.apply(&mut members));
                    members
                });
                true
            }
            Err(before) => {
                self.late = Some((before, edits));
                false
            }
        }
    }

    /// Takes these arrays now or not at all: who was removed is not to be kept for their sake.
    pub(super) fn let_go(&mut self) {
        self.reclaim();
        self.late = None;
    }
}

impl<S, P: Policy> Default for Roster<S, P> {
    fn default() -> Self {
        Self {
            changed: Vec::new(),
            gone: Vec::new(),
            plain: false,
            census: Census::default(),
            noted: BTreeSet::new(),
            current: None,
            edits: Vec::new(),
            late: None,
            spare: None,
        }
    }
}
