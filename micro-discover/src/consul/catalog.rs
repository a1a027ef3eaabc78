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

/// What watchers saw last, by service.
type Seen = Mutex<HashMap<String, Last>>;

/// A set that was given out, the index it was seen at, and whether the agents have failed since.
#[derive(Clone, Default)]
struct Last {
    set: Vec<Service>,
    index: u64,
    failed: bool,
}

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
/// For how long endpoints stay that servers which were set up anew do not know, and those whose TTL has run out while their
/// agent did not answer, for then it took no renewals either: their announcements are made again.
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
    #[serde(default)]
    output: String,
}

impl Check {
    /// Whether it says nothing but that no renewal has come.
    fn has_expired(&self) -> bool {
        self.output.is_empty() || self.output.starts_with("TTL expired")
    }
}

/// What an answer says of a service.
#[derive(Default)]
pub(super) struct Told {
    pub(super) set: Vec<Service>,
    /// What would be in it but for a TTL that has run out, one endpoint each.
    expired: Vec<Service>,
    pub(super) index: u64,
}

impl Catalog {
    pub(super) fn new(agents: Arc<Agents>, passing_only: bool) -> Self {
        Self { agents, passing_only, seen: Arc::default() }
    }

    pub(super) fn agents(&self) -> &Agents {
        &self.agents
    }

    pub(super) async fn get(&self, name: &str) -> Result<Vec<Service>, Trouble> {
        self.query(name, 0).await.map(|told| told.set)
    }

    /// The names of all services but Consul's own.
    pub(super) async fn names(&self) -> Result<Vec<String>, Trouble> {
        let answer = self.agents.read("/v1/catalog/services?").await?;
        let names: BTreeMap<String, Vec<String>> = parse(&answer)?;
        Ok(names.into_keys().filter(|name| name != "consul").collect())
    }

    /// What is told of a service: at once, or when the index is no longer `seen`.
    pub(super) async fn query(&self, name: &str, seen: u64) -> Result<Told, Trouble> {
        let path = format!("/v1/health/service/{}?", escape(name));
        let answer = if seen == 0 {
            self.agents.read(&path).await?
        } else {
            let path = format!("{path}index={seen}&wait={}s", WAIT.as_secs());
            self.agents.wait(&path, WAIT + WAIT / 16 + WAY).await?
        };
        let entries: Vec<Entry> = parse(&answer)?;
        let (set, expired) = self.services(name, entries);
        Ok(Told { set, expired, index: answer.index })
    }

    /// Those that are well, and those whose TTL has run out.
    fn services(&self, name: &str, mut entries: Vec<Entry>) -> (Vec<Service>, Vec<Service>) {
        let well = |check: &Check| match check.status.as_str() {
            "passing" => true,
            "warning" => !self.passing_only,
            _ => false,
        };
        let all = |entry: &Entry, fits: &dyn Fn(&Check) -> bool| entry.checks.iter().flatten().all(fits);
        // Consul's index knows no upper case.
        entries.retain(|entry| {
            entry.service.service == name && all(entry, &|check| well(check) || check.has_expired())
        });
        let (well, expired): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| all(entry, &well));
        let read = |entry: Entry| entry.service.record(&entry.node.address);
        let records = well.into_iter().filter_map(read).collect();
        (merge(&in_order(records)), expired.into_iter().filter_map(read).collect())
    }

    pub(super) fn watch(self, name: String) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        let last = self.seen.lock().expect(NO_PANIC).get(&name).cloned().unwrap_or_default();
        let watcher = Watcher {
            catalog: self,
            name,
            index: 0,
            seen: last.index,
            silent: last.failed,
            set: last.set,
            last: None,
            grace: None,
            next: Instant::now(),
            answered: false,
            failed: false,
        };
        stream::unfold(watcher, Watcher::next).boxed()
    }
}

/// Records of one endpoint each by its id: one that is registered with two agents is one all the same.
fn in_order(mut records: Vec<Service>) -> Vec<Service> {
    records.sort_by(|a, b| a.endpoints[0].id.cmp(&b.endpoints[0].id));
    records.dedup_by(|a, b| a.endpoints[0].id == b.endpoints[0].id);
    records
}

fn ids(set: &[Service]) -> BTreeSet<String> {
    set.iter().flat_map(|service| &service.endpoints).map(|endpoint| endpoint.id.clone()).collect()
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
    /// Whether the agents have failed, or were late, since then.
    silent: bool,
    /// What was given out last.
    last: Option<Vec<Service>>,
    grace: Option<Grace>,
    /// When the next query may be made.
    next: Instant,
    answered: bool,
    failed: bool,
}

/// What is believed in although the servers do not say so, or not any more: one endpoint each, and until when.
struct Grace {
    end: Instant,
    lost: Vec<Service>,
    expired: Vec<Service>,
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
            let end = self.grace.as_ref().map(|grace| grace.end);
            let asked = tokio::select! {
                asked = self.catalog.query(&self.name, self.index) => Some(asked),
                () = async { sleep_until(end.expect("only asked when there is one")).await }, if end.is_some() => None,
            };
            match asked {
                None => self.grace = None,
                // Nobody said that nothing has changed: somebody is asked what is, at once.
                Some(Err(Trouble::Late)) if self.index > 0 => (self.index, self.silent) = (0, true),
                Some(Err(trouble)) => {
                    self.failed = true;
                    if let Some(last) = self.catalog.seen.lock().expect(NO_PANIC).get_mut(&self.name) {
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
            let known = self.grace.take().map(|grace| grace.lost).unwrap_or_default();
            let lost = if anew { before.iter().flat_map(split).collect() } else { known };
            self.grace = Some(Grace { end: Instant::now() + GRACE, lost, expired: Vec::new() });
        }
        if let Some(grace) = &mut self.grace {
            let (known, before) = (ids(&self.set), ids(&before));
            grace.lost.retain(|record| !known.contains(&record.endpoints[0].id));
            grace.expired = expired;
            grace.expired.retain(|record| before.contains(&record.endpoints[0].id));
        }
        let usable = index > 0 && index >= self.index;
        // The same index at once: whoever answers does not wait.
        let hasty = usable && index == self.index && start.elapsed() < NO_INDEX_PACE;
        self.next = start + if usable && !hasty { PACE } else { NO_INDEX_PACE };
        self.index = if usable { index } else { 0 };
        (self.seen, self.answered) = (index, true);
        let last = Last { set: self.believed(), index, failed: false };
        self.catalog.seen.lock().expect(NO_PANIC).insert(self.name.clone(), last);
    }

    /// What the servers say, and what they have lost.
    fn believed(&self) -> Vec<Service> {
        let Some(Grace { lost, expired, .. }) = &self.grace else { return self.set.clone() };
        let more = expired.iter().chain(lost).cloned();
        merge(&in_order(self.set.iter().flat_map(split).chain(more).collect()))
    }
}
