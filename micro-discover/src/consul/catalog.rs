//! Which endpoints of a service Consul holds to be well.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::agents::{Agents, Answer, Trouble};
use super::tags;
use crate::escape::escape;
use crate::gomicro::{dialled, in_a_path};
use crate::invalid::Invalid;
use crate::merge::merge;
use crate::record::{Endpoint, Service};

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
pub(super) struct Last {
    pub(super) set: Vec<Service>,
    pub(super) index: u64,
    pub(super) failed: bool,
    /// How many watchers follow it.
    pub(super) watchers: usize,
}

/// How long a blocking query waits for a change; Consul adds up to a sixteenth. An agent that hangs is found out after
/// as much.
const WAIT: Duration = Duration::from_secs(5);
/// What the way there and back may take besides.
const WAY: Duration = Duration::from_millis(100);
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
    /// Any number: Consul takes what it is given.
    #[serde(default)]
    port: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID", default)]
    id: String,
    status: String,
    #[serde(default)]
    output: String,
}

impl Check {
    /// Whether it says nothing but that no renewal has come.
    fn has_expired(&self) -> bool {
        self.output.is_empty() && !self.is_maintenance() || self.has_run_out()
    }

    /// Whether an operator has taken the endpoint, or its node, out of use. Its output is empty, too.
    fn is_maintenance(&self) -> bool {
        self.id == "_node_maintenance" || self.id.starts_with("_service_maintenance:")
    }

    /// Whether it says that one did not come in time.
    fn has_run_out(&self) -> bool {
        self.output.starts_with("TTL expired")
    }
}

/// What an answer says of a service.
#[derive(Default)]
pub(super) struct Told {
    pub(super) set: Vec<Service>,
    /// What would be in it if renewals had come.
    pub(super) expired: Vec<Expired>,
    pub(super) index: u64,
}

/// A record of one endpoint, and whether its TTL has run out: otherwise its check was never passed, or was failed.
pub(super) struct Expired {
    pub(super) record: Service,
    pub(super) ran_out: bool,
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
        let answer = self.agents.read::<BTreeMap<String, IgnoredAny>>("/v1/catalog/services?").await?;
        Ok(answer.said.into_keys().filter(|name| name != "consul").collect())
    }

    /// What is told of a service: at once, or when the index is no longer `seen`.
    pub(super) async fn query(&self, name: &str, seen: u64) -> Result<Told, Trouble> {
        let path = format!("/v1/health/service/{}?", escape(name));
        let answer: Answer<Vec<Entry>> = if seen == 0 {
            self.agents.read(&path).await?
        } else {
            let path = format!("{path}index={seen}&wait={}s", WAIT.as_secs());
            self.agents.wait(&path, WAIT + WAIT / 16 + WAY).await?
        };
        let (set, expired) = self.services(name, answer.said);
        Ok(Told { set, expired, index: answer.index })
    }

    /// What watchers saw last.
    pub(super) fn seen(&self) -> MutexGuard<'_, HashMap<String, Last>> {
        self.seen.lock().expect("nothing under this lock can panic")
    }

    /// Those that are well, and those whose TTL has run out.
    fn services(&self, name: &str, mut entries: Vec<Entry>) -> (Vec<Service>, Vec<Expired>) {
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
        let read = |entry: Entry| {
            let warns = entry.checks.iter().flatten().any(|check| check.status == "warning");
            let mut record = entry.service.record(&entry.node.address)?;
            if warns {
                record.endpoints = record.endpoints.into_iter().map(Endpoint::degraded).collect();
            }
            Some(record)
        };
        let records = well.into_iter().filter_map(read).collect();
        let expired = expired.into_iter().filter_map(|entry| {
            let ran_out = entry.checks.iter().flatten().any(Check::has_run_out);
            read(entry).map(|record| Expired { record, ran_out })
        });
        (merge(&in_order(records)), expired.collect())
    }
}

/// Records of one endpoint each by its id: one that is registered with two agents is one all the same.
pub(super) fn in_order(mut records: Vec<Service>) -> Vec<Service> {
    records.sort_by(|a, b| a.endpoints[0].id.cmp(&b.endpoints[0].id));
    records.dedup_by(|a, b| a.endpoints[0].id == b.endpoints[0].id);
    records
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
        let port = u32::try_from(self.port).map_err(|_| Invalid::new(format!("port {} is none", self.port)));
        let endpoint = port.and_then(|port| dialled(host, port, &labels)).map(|address| {
            let mut endpoint = Endpoint::new(in_a_path(&self.id), address);
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
