//! Which endpoints of a service Consul holds to be well: now, and whenever that changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};

use super::agents::{Agents, Answer, Trouble, escape};
use super::tags;
use crate::gomicro::dialled;
use crate::merge::{merge, split};
use crate::record::{Endpoint, Service};
use crate::registry::Error;

#[derive(Clone)]
pub(super) struct Catalog {
    agents: Arc<Agents>,
    passing_only: bool,
    seen: Arc<Seen>,
}

/// What watchers saw last, and at which index, by service.
type Seen = Mutex<HashMap<String, (Vec<Service>, u64)>>;

const NO_PANIC: &str = "nothing under this lock can panic";

/// How long a blocking query waits for a change; Consul adds up to a sixteenth. An agent that hangs is found out after
/// as much.
const WAIT: Duration = Duration::from_secs(5);
/// What the way there and back may take besides.
const WAY: Duration = Duration::from_millis(100);
/// The least time from one query to the next: fifty a second, however fast the index moves.
const PACE: Duration = Duration::from_millis(20);
/// The same, where the index cannot be used to wait.
const NO_INDEX_PACE: Duration = Duration::from_millis(500);
/// For how long endpoints stay that servers which were set up anew do not know: their announcements are made again.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    node: Node,
    service: Registered,
    #[serde(default)]
    checks: Option<Vec<Check>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(default)]
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Registered {
    #[serde(rename = "ID")]
    id: String,
    service: String,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    meta: Option<BTreeMap<String, String>>,
    #[serde(default)]
    address: String,
    #[serde(default)]
    port: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    status: String,
}

impl Catalog {
    pub(super) fn new(agents: Arc<Agents>, passing_only: bool) -> Self {
        Self { agents, passing_only, seen: Arc::default() }
    }

    pub(super) fn agents(&self) -> &Agents {
        &self.agents
    }

    pub(super) async fn get(&self, name: &str) -> Result<Vec<Service>, Trouble> {
        self.query(name, 0).await.map(|(set, _)| set)
    }

    /// The names of all services but Consul's own.
    pub(super) async fn names(&self) -> Result<Vec<String>, Trouble> {
        let answer = self.agents.read("/v1/catalog/services?").await?;
        let names: BTreeMap<String, Vec<String>> = parse(&answer)?;
        Ok(names.into_keys().filter(|name| name != "consul").collect())
    }

    /// The set, and its index: at once, or when the index is no longer `seen`.
    pub(super) async fn query(&self, name: &str, seen: u64) -> Result<(Vec<Service>, u64), Trouble> {
        let path = format!("/v1/health/service/{}?", escape(name));
        let answer = if seen == 0 {
            self.agents.read(&path).await?
        } else {
            let path = format!("{path}index={seen}&wait={}s", WAIT.as_secs());
            self.agents.wait(&path, WAIT + WAIT / 16 + WAY).await?
        };
        let entries: Vec<Entry> = parse(&answer)?;
        Ok((self.services(name, entries), answer.index))
    }

    fn services(&self, name: &str, entries: Vec<Entry>) -> Vec<Service> {
        let well = |entry: &Entry| {
            entry.checks.iter().flatten().all(|check| match check.status.as_str() {
                "passing" => true,
                "warning" => !self.passing_only,
                _ => false,
            })
        };
        // Consul's index knows no upper case.
        let named = |entry: &Entry| entry.service.service == name;
        let read = |entry: Entry| entry.service.record(&entry.node.address);
        let mut records: Vec<_> =
            entries.into_iter().filter(|e| named(e) && well(e)).filter_map(read).collect();
        records.sort_by(|a, b| a.endpoints[0].id.cmp(&b.endpoints[0].id));
        // Registered with two agents: one endpoint all the same.
        let mut ids = BTreeSet::new();
        records.retain(|record| ids.insert(record.endpoints[0].id.clone()));
        merge(&records)
    }

    pub(super) fn watch(self, name: String) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        let (last, seen) = match self.seen.lock().expect(NO_PANIC).get(&name) {
            Some((set, index)) => (set.clone(), *index),
            None => (Vec::new(), 0),
        };
        let watcher = Watcher {
            catalog: self,
            name,
            index: 0,
            seen,
            set: last,
            last: None,
            grace: None,
            next: Instant::now(),
            answered: false,
            failed: false,
        };
        stream::unfold(watcher, Watcher::next).boxed()
    }
}

/// Reads an answer's JSON.
pub(super) fn parse<T: DeserializeOwned>(answer: &Answer) -> Result<T, Trouble> {
    serde_json::from_slice(&answer.body).map_err(|error| Trouble::Junk(error.to_string()))
}

impl Registered {
    /// What was registered, by us, by go-micro, or by anyone. None if it breaks a rule, which is said in the log.
    pub(super) fn record(self, node: &str) -> Option<Service> {
        let tags = self.tags.unwrap_or_default();
        if let Some(record) = tags::whole(&tags).filter(|r| r.endpoints.len() == 1 && r.name == self.service)
        {
            return Some(record);
        }
        let mut labels = tags::labels(&tags);
        labels.extend(self.meta.unwrap_or_default());
        let host = if self.address.is_empty() { node } else { &self.address };
        let endpoint = dialled(host, self.port, &labels).map(|address| {
            let mut endpoint = Endpoint::new(self.id, address);
            endpoint.metadata = labels;
            endpoint
        });
        let version = tags::version(&tags).unwrap_or_else(|| "latest".to_owned());
        let checked = endpoint.and_then(|endpoint| {
            let mut record = Service::new(self.service).version(version).endpoint(endpoint);
            record.methods = tags::methods(&tags);
            record.validate().map(|()| record)
        });
        checked.inspect_err(|what| tracing::debug!(%what, "ignoring what is no record in Consul")).ok()
    }
}

struct Watcher {
    catalog: Catalog,
    name: String,
    /// From where on to wait; 0 asks at once.
    index: u64,
    /// The index seen last, by this watcher or the one before it; and the set.
    seen: u64,
    set: Vec<Service>,
    /// What was given out last.
    last: Option<Vec<Service>>,
    /// What the servers have lost, one endpoint each, and for how long it stays.
    grace: Option<(Vec<Service>, Instant)>,
    /// When the next query may be made.
    next: Instant,
    answered: bool,
    failed: bool,
}

impl Watcher {
    /// Waits for a set that differs from the last one. Ends after an error.
    async fn next(mut self) -> Option<(Result<Vec<Service>, Error>, Self)> {
        if self.failed {
            return None;
        }
        loop {
            sleep_until(self.next).await;
            let start = Instant::now();
            let end = self.grace.as_ref().map(|(_, end)| *end);
            let asked = tokio::select! {
                asked = self.catalog.query(&self.name, self.index) => Some(asked),
                () = async { sleep_until(end.expect("only asked when there is one")).await }, if end.is_some() => None,
            };
            match asked {
                None => self.grace = None,
                // Nobody said that nothing has changed: somebody is asked what is, at once.
                Some(Err(Trouble::Late)) if self.index > 0 => self.index = 0,
                Some(Err(trouble)) => {
                    self.failed = true;
                    return Some((Err(trouble.cannot("watch")), self));
                }
                Some(Ok((set, index))) => self.note(set, index, start),
            }
            let set = self.believed();
            if self.last.as_ref() != Some(&set) && self.answered {
                self.last = Some(set.clone());
                return Some((Ok(set), self));
            }
        }
    }

    fn note(&mut self, set: Vec<Service>, index: u64, start: Instant) {
        let before = std::mem::replace(&mut self.set, set);
        // An index that goes back is of servers that were set up anew: theirs is asked for at once.
        if index > 0 && index < self.seen {
            self.grace = Some((before.iter().flat_map(split).collect(), Instant::now() + GRACE));
        }
        if let Some((lost, _)) = &mut self.grace {
            let known: BTreeSet<_> = self.set.iter().flat_map(|s| &s.endpoints).map(|e| &e.id).collect();
            lost.retain(|record| !known.contains(&record.endpoints[0].id));
        }
        let usable = index > 0 && index >= self.index;
        // The same index at once: whoever answers does not wait.
        let hasty = usable && index == self.index && start.elapsed() < NO_INDEX_PACE;
        self.next = start + if usable && !hasty { PACE } else { NO_INDEX_PACE };
        self.index = if usable { index } else { 0 };
        (self.seen, self.answered) = (index, true);
        self.catalog.seen.lock().expect(NO_PANIC).insert(self.name.clone(), (self.set.clone(), index));
    }

    /// What the servers know, and what they have lost.
    fn believed(&self) -> Vec<Service> {
        let Some((lost, _)) = &self.grace else { return self.set.clone() };
        let mut all: Vec<_> = self.set.iter().flat_map(split).chain(lost.iter().cloned()).collect();
        all.sort_by(|a, b| a.endpoints[0].id.cmp(&b.endpoints[0].id));
        merge(&all)
    }
}
