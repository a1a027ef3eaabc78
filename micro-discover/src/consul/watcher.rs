//! Follows one service: the whole set now, and whenever it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::agents::Trouble;
use super::catalog::{Catalog, Expired, Told, in_order};
use crate::merge::{merge, split};
use crate::record::{EndpointId, Service};
use crate::registry::Error;

/// The least time from one query to the next: fifty a second, however fast the index moves.
const PACE: Duration = Duration::from_millis(20);
/// The same, where the index cannot be used to wait.
const NO_INDEX_PACE: Duration = Duration::from_millis(500);
/// For how long endpoints stay that servers which were set up anew do not know, and those whose TTL has run out while their
/// agent did not answer, for then it took no renewals either: their announcements are made again.
const GRACE: Duration = Duration::from_secs(10);
/// The same for those whose TTL has run out while all seemed well: an agent that froze for less than a blocking query takes
/// still has the renewals before it that came meanwhile.
const DOUBT: Duration = Duration::from_secs(1);

pub(super) struct Watcher {
    catalog: Catalog,
    name: String,
    /// From where on to wait; 0 asks at once.
    index: u64,
    /// The index seen last, by this watcher or the one before it; and the set.
    seen: u64,
    set: Vec<Service>,
    /// Whether the agents have failed, or were late, since then.
    silent: bool,
    /// What was given out last.
    last: Option<Vec<Service>>,
    /// What is believed in although the servers do not say so, or not any more.
    kept: BTreeMap<EndpointId, Kept>,
    /// Until when a TTL may have run out because nobody took the renewals.
    forgiving: Option<Instant>,
    /// When the next query may be made.
    next: Instant,
    answered: bool,
    failed: bool,
}

/// A record of one endpoint, how long it stays, and whether the servers know it: with a TTL that has run out.
struct Kept {
    record: Service,
    until: Instant,
    expired: bool,
}

impl Watcher {
    pub(super) fn new(catalog: Catalog, name: String) -> Self {
        let last = {
            let mut seen = catalog.seen();
            let last = seen.entry(name.clone()).or_default();
            last.watchers += 1;
            last.clone()
        };
        Self {
            catalog,
            name,
            index: 0,
            seen: last.index,
            silent: last.failed,
            set: last.set,
            last: None,
            kept: BTreeMap::new(),
            forgiving: None,
            next: Instant::now(),
            answered: false,
            failed: false,
        }
    }

    /// Waits for a set that differs from the last one. Ends after an error.
    pub(super) async fn next(mut self) -> Option<(Result<Vec<Service>, Error>, Self)> {
        if self.failed {
            return None;
        }
        loop {
            sleep_until(self.next).await;
            let start = Instant::now();
            let end = self.kept.values().map(|kept| kept.until).min();
            let asked = tokio::select! {
                asked = self.catalog.query(&self.name, self.index) => Some(asked),
                () = async { sleep_until(end.expect("only asked when there is one")).await }, if end.is_some() => None,
            };
            match asked {
                None => self.kept.retain(|_, kept| kept.until > Instant::now()),
                // Nobody said that nothing has changed: somebody is asked what is, at once.
                Some(Err(Trouble::Late { .. })) if self.index > 0 => (self.index, self.silent) = (0, true),
                Some(Err(trouble)) => {
                    self.failed = true;
                    if let Some(last) = self.catalog.seen().get_mut(&self.name) {
                        last.failed = true;
                    }
                    return Some((Err(trouble.cannot("watch")), self));
                }
                Some(Ok(told)) => self.note(told, start),
            }
            let set = self.believed();
            if self.last.as_ref() != Some(&set) && self.answered {
                self.last = Some(set.clone());
                return Some((Ok(set), self));
            }
        }
    }

    fn note(&mut self, Told { set, expired, index }: Told, start: Instant) {
        let before = self.believed();
        self.set = set;
        let silent = std::mem::take(&mut self.silent);
        // An index that goes back is of servers that were set up anew: theirs is asked for at once.
        let anew = index > 0 && index < self.seen;
        if silent || anew {
            self.forgiving = Some(Instant::now() + GRACE);
        }
        self.keep(&before, expired, anew);
        let usable = index > 0 && index >= self.index;
        // The same index at once: whoever answers does not wait.
        let hasty = usable && index == self.index && start.elapsed() < NO_INDEX_PACE;
        self.next = start + if usable && !hasty { PACE } else { NO_INDEX_PACE };
        self.index = if usable { index } else { 0 };
        (self.seen, self.answered) = (index, true);
        let set = self.believed();
        if let Some(last) = self.catalog.seen().get_mut(&self.name) {
            (last.set, last.index, last.failed) = (set, index, false);
        }
    }

    /// Keeps of what was believed `before` what has `expired`, and what servers that were set up `anew` do not know.
    fn keep(&mut self, before: &[Service], expired: Vec<Expired>, anew: bool) {
        let kept = std::mem::take(&mut self.kept);
        if kept.is_empty() && expired.is_empty() && !anew {
            return;
        }
        let now = Instant::now();
        let forgiving = self.forgiving.filter(|end| *end > now);
        let (known, believed) = (ids(&self.set), ids(before));
        if let Some(until) = forgiving {
            let is_lost = |id: &EndpointId| anew || kept.get(id).is_some_and(|kept| !kept.expired);
            let lost = before.iter().flat_map(split).map(by_id).filter(|(id, _)| is_lost(id));
            self.kept = lost.map(|(id, record)| (id, Kept { record, until, expired: false })).collect();
        }
        for Expired { record, ran_out } in expired {
            let (id, record) = by_id(record);
            // What another watcher believed, some time ago, is no reason to.
            let doubted = forgiving.is_some() || ran_out && self.answered;
            if doubted && believed.contains(&id) {
                let since = kept.get(&id).filter(|kept| kept.expired).map_or(now + DOUBT, |kept| kept.until);
                let until = forgiving.map_or(since, |end| end.max(since));
                self.kept.insert(id, Kept { record, until, expired: true });
            }
        }
        self.kept.retain(|id, _| !known.contains(id));
    }

    /// What the servers say, and what they have lost.
    fn believed(&self) -> Vec<Service> {
        if self.kept.is_empty() {
            return self.set.clone();
        }
        let more = self.kept.values().map(|kept| kept.record.clone());
        merge(&in_order(self.set.iter().flat_map(split).chain(more).collect()))
    }
}

/// What is known stays for whoever goes on after a failure. Without one nobody does, and of nobody there is nothing to know.
impl Drop for Watcher {
    fn drop(&mut self) {
        let mut seen = self.catalog.seen();
        let Some(last) = seen.get_mut(&self.name) else { return };
        last.watchers = last.watchers.saturating_sub(1);
        if last.watchers == 0 && (!last.failed || last.set.is_empty()) {
            seen.remove(&self.name);
        }
    }
}

fn by_id(record: Service) -> (EndpointId, Service) {
    (record.endpoints[0].id.clone(), record)
}

fn ids(set: &[Service]) -> BTreeSet<EndpointId> {
    set.iter().flat_map(|service| &service.endpoints).map(|endpoint| endpoint.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::agents::{Agents, Scope};
    use super::*;
    use crate::record::Endpoint;

    #[test]
    fn a_name_that_nobody_watches_any_more_takes_no_room_unless_somebody_will_go_on() {
        let agents = Agents::new(vec!["127.0.0.1:1".to_owned()], Scope::default(), None).unwrap();
        let catalog = Catalog::new(Arc::new(agents), false);
        let (one, two) = [(); 2].map(|()| Watcher::new(catalog.clone(), "greeter".to_owned())).into();
        let record = Service::new("greeter").endpoint(Endpoint::new("a", "h:1".parse().unwrap()));
        let told = || Told { set: vec![record.clone()], index: 5, ..Told::default() };
        let mut one: Watcher = one;
        one.note(told(), Instant::now());
        drop(one);
        assert_eq!(catalog.seen()["greeter"].set, std::slice::from_ref(&record), "another one is there");
        let two: Watcher = two;
        catalog.seen().get_mut("greeter").unwrap().failed = true;
        drop(two);
        let mut after = Watcher::new(catalog.clone(), "greeter".to_owned());
        assert_eq!(after.set, std::slice::from_ref(&record), "goes on after the failure");
        after.note(told(), Instant::now());
        drop(after);
        drop(Watcher::new(catalog.clone(), "nobody".to_owned()));
        assert!(catalog.seen().is_empty());
    }
}
