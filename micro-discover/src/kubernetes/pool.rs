//! Which endpoints the slices of a Service add up to, kept while slices come and go.
//!
//! What a slice says is put in its place when the slice comes, so that an event costs what its slice has. Only when the rule
//! by which endpoints are chosen becomes another one, as when the last ready endpoint goes, all are looked at.

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::member::{At, Member};
use super::rules::{Count, Rules};
use super::said::{Said, said};
use super::select::{Family, Wanted};
use super::slice::Slice;

/// The endpoints of one Service.
#[derive(Debug)]
pub(super) struct Pool {
    wanted: Arc<Wanted>,
    /// Which addresses each slice has.
    slices: HashMap<String, Vec<At>>,
    /// The best that any slice says of an address, and whether it is used.
    best: BTreeMap<At, (Said, bool)>,
    /// What other slices say of it.
    others: HashMap<At, Vec<Said>>,
    count4: Count,
    count6: Count,
    rules: Rules,
    /// Addresses of which something else may be said than when the rules were applied last.
    touched: Vec<At>,
    /// What was used then, and has left its place since.
    left: BTreeMap<At, Member>,
    used: usize,
}

impl Pool {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted: Arc::new(wanted),
            slices: HashMap::new(),
            best: BTreeMap::new(),
            others: HashMap::new(),
            count4: Count::default(),
            count6: Count::default(),
            rules: Rules::default(),
            touched: Vec::new(),
            left: BTreeMap::new(),
            used: 0,
        }
    }

    /// These are all slices now.
    pub(super) fn replace(&mut self, slices: impl IntoIterator<Item = Slice>) {
        let mut gone: HashSet<String> = self.slices.keys().cloned().collect();
        for slice in slices {
            gone.remove(&slice.metadata.name);
            self.put(slice);
        }
        for name in gone {
            self.remove(&name);
        }
    }

    /// This slice is new, or says something else.
    pub(super) fn put(&mut self, slice: Slice) {
        let name = slice.metadata.name.clone();
        self.remove(&name);
        let mut addresses = Vec::with_capacity(slice.endpoints.len());
        let wanted = self.wanted.clone();
        for (at, said) in said(slice, &wanted) {
            addresses.push(at);
            self.give(at, said);
        }
        self.slices.insert(name, addresses);
    }

    /// This slice is gone.
    pub(super) fn remove(&mut self, name: &str) {
        for at in self.slices.remove(name).into_iter().flatten() {
            self.take(at, name);
        }
    }

    #[cfg(test)]
    pub(super) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Whether any slice has the address.
    pub(super) fn knows(&self, at: &At) -> bool {
        self.best.contains_key(at)
    }

    /// Applies the rules to what has changed. Gives what was used and is in no slice any more.
    pub(super) fn settle(&mut self) -> Vec<(At, Member)> {
        let rules = Rules::of(self.count4, self.count6, &self.wanted);
        let degraded = self.rules.degraded;
        let touched = std::mem::take(&mut self.touched);
        // A pod with addresses of both families is used once: each may depend on the other.
        let both = self.wanted.family == Family::Both && !touched.is_empty();
        if rules != self.rules || both {
            self.rules = rules;
            self.apply_to_all();
        } else {
            for at in touched {
                if let Some((said, used)) = self.best.get_mut(&at) {
                    let now = if at.is_ipv4() { rules.v4 } else { rules.v6 }.fits(said.facts);
                    self.used = self.used + usize::from(now) - usize::from(*used);
                    *used = now;
                }
            }
        }
        let left = std::mem::take(&mut self.left).into_iter();
        let left = left.filter(|(at, _)| !self.knows(at));
        left.map(|(at, member)| (at, marked(member, degraded))).collect()
    }

    fn apply_to_all(&mut self) {
        let Rules { v4, v6, .. } = self.rules;
        let (mut pods, mut count) = (HashSet::new(), 0);
        // In the order of addresses: those of IPv4 come first.
        for (at, (said, used)) in &mut self.best {
            *used = if at.is_ipv4() { v4 } else { v6 }.fits(said.facts);
            if self.wanted.family == Family::Both
                && let (true, Some(pod)) = (*used, &said.pod)
            {
                match at.is_ipv4() {
                    true => drop(pods.insert(pod)),
                    false => *used = !pods.contains(pod),
                }
            }
            count += usize::from(*used);
        }
        self.used = count;
    }

    /// Whether nobody is ready, and what is used is shutting down.
    pub(super) fn degraded(&self) -> bool {
        self.rules.degraded && self.used > 0
    }

    /// What is used, as of the last time the rules were applied: how many, and each in the order of its address.
    pub(super) fn used(&self) -> (usize, impl Iterator<Item = (At, Member)> + '_) {
        let used = self.best.iter().filter(|(_, (_, used))| *used);
        let degraded = self.rules.degraded;
        (self.used, used.map(move |(at, (said, _))| (*at, marked(said.member.clone(), degraded))))
    }

    fn count(&mut self, at: At) -> &mut Count {
        if at.is_ipv4() { &mut self.count4 } else { &mut self.count6 }
    }

    fn give(&mut self, at: At, said: Said) {
        self.touched.push(at);
        let facts = said.facts;
        let mut known = match self.best.entry(at) {
            Entry::Occupied(known) => known,
            Entry::Vacant(place) => {
                place.insert((said, false));
                return self.count(at).add(facts);
            }
        };
        let (best, used) = known.get_mut();
        // Of two alike the first stands.
        if said.rank() <= best.rank() {
            return self.others.entry(at).or_default().push(said);
        }
        let before = std::mem::replace(best, said);
        if std::mem::take(used) {
            self.used -= 1;
            self.left.entry(at).or_insert_with(|| before.member.clone());
        }
        self.count(at).remove(before.facts);
        self.count(at).add(facts);
        // In front: it was said before those that are alike.
        self.others.entry(at).or_default().insert(0, before);
    }

    /// Forgets what the slice `name` says of the address.
    fn take(&mut self, at: At, name: &str) {
        self.touched.push(at);
        if let Some(others) = self.others.get_mut(&at) {
            others.retain(|said| *said.source.name != *name);
        }
        if self.best.get(&at).is_none_or(|(best, _)| *best.source.name != *name) {
            return self.forget_empty(at);
        }
        let Some((best, used)) = self.best.remove(&at) else { return };
        self.count(at).remove(best.facts);
        if used {
            self.used -= 1;
            self.left.entry(at).or_insert(best.member);
        }
        if let Some(others) = self.others.get_mut(&at)
            && let Some(next) = others.iter().map(Said::rank).max()
            && let Some(place) = others.iter().position(|said| said.rank() == next)
        {
            let next = others.remove(place);
            self.count(at).add(next.facts);
            self.best.insert(at, (next, false));
        }
        self.forget_empty(at);
    }

    fn forget_empty(&mut self, at: At) {
        if self.others.get(&at).is_some_and(Vec::is_empty) {
            self.others.remove(&at);
        }
    }
}

/// An endpoint that is used though it shuts down says so.
fn marked(mut member: Member, degraded: bool) -> Member {
    if degraded {
        member.labels = member.labels.with("terminating", "true");
    }
    member
}
