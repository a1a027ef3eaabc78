//! Keys of etcd as endpoints, and what is remembered of them while there is trouble.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::wire::KeyValue;
use crate::gomicro::{self, Reader};
use crate::merge::{Replica, merge};
use crate::record::Service;

/// The layouts of go-micro: since v1.12, and before.
const ROOTS: [&str; 2] = ["/micro/registry/", "/micro-registry/"];

/// Where the records of `name`, or of all services, are.
pub(super) fn prefixes(name: Option<&str>) -> [String; 2] {
    ROOTS.map(|root| match name {
        Some(name) => format!("{root}{name}/"),
        None => root.to_owned(),
    })
}

/// How endpoints are put: as one of go-micro's eras does. Both are read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Layout {
    #[default]
    Current,
    V0,
}

impl Layout {
    /// Where an endpoint is put.
    pub(super) fn key(self, service: &str, id: &str) -> String {
        let root = match self {
            Self::Current => ROOTS[0],
            Self::V0 => ROOTS[1],
        };
        format!("{root}{service}/{id}")
    }

    /// What is put there.
    pub(super) fn value(self, record: &Service) -> Vec<u8> {
        match self {
            Self::Current => gomicro::encode(record),
            Self::V0 => gomicro::encode_v0(record),
        }
    }
}

/// Records as they are found, each with its key.
pub(super) type Found = Vec<(Vec<u8>, Replica)>;

/// One record per key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table(pub(super) BTreeMap<Vec<u8>, Replica>);

impl From<Found> for Table {
    fn from(found: Found) -> Self {
        Self(found.into_iter().collect())
    }
}

impl Table {
    /// The set these keys are. An endpoint under both layouts counts once.
    pub(super) fn services(&self) -> Vec<Service> {
        // The older layout's keys are the smaller ones.
        let current = ROOTS[0].as_bytes().to_vec();
        let (newer, older) = (self.0.range(current.clone()..), self.0.range(..current));
        if older.clone().next().is_none() && newer.clone().all(|(key, replica)| is_own(key, replica)) {
            return merge(self.0.values());
        }
        let mut ids = HashSet::with_capacity_and_hasher(self.0.len(), RandomState::default());
        let mut replicas = Vec::with_capacity(self.0.len());
        for (_, replica) in newer.chain(older) {
            let name = replica.head.name.as_str();
            if replica.endpoints.iter().all(|endpoint| ids.insert((name, endpoint.id.as_str()))) {
                replicas.push(replica);
            }
        }
        merge(replicas)
    }
}

/// Whether the endpoint is the one this key of the current layout is for: then no other key's has its id.
fn is_own(key: &[u8], Replica { head, endpoints }: &Replica) -> bool {
    let [endpoint] = &**endpoints else { return false };
    let rest = key.strip_prefix(ROOTS[0].as_bytes()).and_then(|rest| rest.strip_prefix(head.name.as_bytes()));
    rest.and_then(|rest| rest.strip_prefix(b"/")) == Some(endpoint.id.as_bytes())
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
    leaderless: bool,
    recovered: Option<Instant>,
}

const NO_PANIC: &str = "nothing under this lock can panic";
const MOST_JUNK: usize = 1_000;

impl Seen {
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, lost: Mutex::default(), junk: Mutex::default() }
    }

    /// Adds the records among `page` to `found`. What is no record is said once and left out.
    pub(super) fn read(
        &self,
        page: Vec<KeyValue>,
        name: Option<&str>,
        found: &mut Found,
        reader: &mut Reader,
    ) {
        found.reserve(page.len());
        found.extend(page.into_iter().filter_map(|kv| {
            let record = self.record(&kv.key, &kv.value, name, reader)?;
            Some((kv.key.to_vec(), record))
        }));
    }

    pub(super) fn record(
        &self,
        key: &[u8],
        value: &[u8],
        name: Option<&str>,
        reader: &mut Reader,
    ) -> Option<Replica> {
        match reader.read(value) {
            Ok(record)
                if name.is_none_or(|name| name == record.head.name) && !record.endpoints.is_empty() =>
            {
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

    /// Notes what was known of `name` when the cluster failed, and whether it had lost its leader.
    pub(super) fn lose(&self, name: &str, table: Option<Table>, leaderless: bool) {
        let mut lost = self.lost();
        match (lost.get_mut(name), table) {
            (Some(known), table) => {
                known.table = table.unwrap_or_else(|| std::mem::take(&mut known.table));
                known.leaderless |= leaderless;
                known.recovered = None;
            }
            (None, Some(table)) => {
                lost.insert(name.to_owned(), Lost { table, leaderless, recovered: None });
            }
            (None, None) => {}
        }
    }

    /// What to go on believing in beside what the cluster says now, and until when.
    pub(super) fn recover(&self, name: &str) -> Option<(Table, Instant)> {
        let mut lost = self.lost();
        let known = lost.get_mut(name)?;
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
            (key.as_bytes().to_vec(), reader.read(json.as_bytes()).unwrap())
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
