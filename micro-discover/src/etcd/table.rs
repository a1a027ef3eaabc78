//! Keys of etcd as endpoints, and what is remembered of them while there is trouble.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::layout::ROOTS;
use super::record::{Found, Record};
use crate::gomicro::Reader;
use crate::merge::Merged;
use crate::record::Service;

/// One record per key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table(pub(super) BTreeMap<Box<[u8]>, Record>);

impl From<Found> for Table {
    fn from(found: Found) -> Self {
        Self(found.into_iter().collect())
    }
}

impl Table {
    /// The set these keys are. An endpoint under both layouts counts once.
    pub(super) fn services(&self) -> Vec<Service> {
        let own = self.0.values().all(|record| matches!(record, Record::Own(..)));
        if own { self.merged() } else { self.without_twins() }
    }

    fn merged(&self) -> Vec<Service> {
        let mut merged = Merged::default();
        for (key, record) in &self.0 {
            record.add(key, merged.endpoints(record.head()));
        }
        merged.done()
    }

    fn without_twins(&self) -> Vec<Service> {
        // The older layout's keys are the smaller ones.
        let current: Box<[u8]> = ROOTS[0].as_bytes().into();
        let (newer, older) = (self.0.range(current.clone()..), self.0.range(..current));
        let (mut merged, mut ids, mut endpoints) = (Merged::default(), HashSet::new(), Vec::new());
        for (key, record) in newer.chain(older) {
            record.add(key, &mut endpoints);
            let name = record.head().name.as_str();
            if endpoints.iter().all(|endpoint| ids.insert((name, endpoint.id.clone()))) {
                merged.endpoints(record.head()).append(&mut endpoints);
            }
            endpoints.clear();
        }
        merged.done()
    }
}

/// What watchers of this registry saw when they lost it, by service; and which keys hold no record.
#[derive(Debug)]
pub(super) struct Seen {
    grace: Duration,
    lost: Mutex<HashMap<String, Lost>>,
    junk: Mutex<HashSet<Vec<u8>>>,
}

#[derive(Debug)]
struct Lost {
    table: Table,
    /// The newest revision that was heard of.
    revision: i64,
    /// Whether leases could not be renewed, or are gone with all else.
    leaderless: bool,
    recovered: Option<Instant>,
}

const NO_PANIC: &str = "nothing under this lock can panic";
const MOST_JUNK: usize = 1_000;

impl Seen {
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, lost: Mutex::default(), junk: Mutex::default() }
    }

    /// The record of `value`. What is none, or not one of `name`'s, is said once and left out.
    pub(super) fn record(
        &self,
        key: &[u8],
        value: &[u8],
        name: Option<&str>,
        reader: &mut Reader,
    ) -> Option<Record> {
        match reader.hear(value).map(|heard| Record::new(key, heard)) {
            Ok(record) if name.is_none_or(|name| name == record.head().name) && !record.is_empty() => {
                Some(record)
            }
            found => {
                let mut junk = self.junk.lock().expect(NO_PANIC);
                if junk.len() < MOST_JUNK && junk.insert(key.to_vec()) {
                    let (key, why) = (String::from_utf8_lossy(key), found.err());
                    tracing::warn!(%key, ?why, "ignoring what is no record under a key of the registry");
                }
                None
            }
        }
    }

    /// Notes what was known of `name` when the cluster failed, of which revision, and whether it had lost its leader.
    pub(super) fn lose(&self, name: &str, table: Option<(Table, i64)>, leaderless: bool) {
        let mut lost = self.lost();
        match (lost.get_mut(name), table) {
            (Some(known), table) => {
                if let Some((table, revision)) = table {
                    (known.table, known.revision) = (table, revision.max(known.revision));
                }
                known.leaderless |= leaderless;
                known.recovered = None;
            }
            (None, Some((table, revision))) => {
                lost.insert(name.to_owned(), Lost { table, revision, leaderless, recovered: None });
            }
            (None, None) => {}
        }
    }

    /// What to go on believing in beside what the cluster says now, at this revision, and until when.
    pub(super) fn recover(&self, name: &str, revision: i64) -> Option<(Table, Instant)> {
        let mut lost = self.lost();
        let known = lost.get_mut(name)?;
        // One that was set up anew, or from a backup, has not been told again of everybody yet.
        if revision < known.revision {
            (known.leaderless, known.revision) = (true, revision);
        }
        let end = *known.recovered.get_or_insert_with(Instant::now) + self.grace;
        if known.leaderless && end > Instant::now() {
            return Some((known.table.clone(), end));
        }
        lost.remove(name);
        None
    }

    fn lost(&self) -> MutexGuard<'_, HashMap<String, Lost>> {
        self.lost.lock().expect(NO_PANIC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids of the set that these keys are, each with the id of its record.
    fn ids(keys: &[(&str, &str)]) -> Vec<String> {
        let mut reader = Reader::default();
        let record = |(key, id): &(&str, &str)| {
            let json = format!(r#"{{"name":"s","nodes":[{{"id":"{id}","address":"10.0.0.1:80"}}]}}"#);
            let heard = reader.hear(json.as_bytes()).unwrap();
            (key.as_bytes().into(), Record::new(key.as_bytes(), heard))
        };
        let set = Table(keys.iter().map(record).collect()).services();
        set.into_iter().flat_map(|service| service.endpoints).map(|endpoint| endpoint.id).collect()
    }

    #[test]
    fn an_id_that_stands_under_several_keys_is_one_endpoint() {
        let own = [("/micro/registry/s/a", "a"), ("/micro/registry/s/b", "b")];
        assert_eq!(ids(&own), ["a", "b"]);
        let [first, second] = own;
        assert_eq!(ids(&[first, second, ("/micro/registry/s/other", "a")]), ["a", "b"]);
        assert_eq!(
            ids(&[first, second, ("/micro-registry/s/b", "b"), ("/micro-registry/s/c", "c")]),
            ["a", "b", "c"]
        );
    }
}
