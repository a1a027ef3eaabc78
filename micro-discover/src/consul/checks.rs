//! Registers endpoints with an agent and keeps their checks passing.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use http::StatusCode;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::agents::{Answer, Trouble, escape};
use super::catalog::{Catalog, Registered};
use super::tags;
use crate::gomicro::written;
use crate::merge::split;
use crate::record::{Endpoint, Service};

/// What the agent does to see whether an endpoint is well.
#[derive(Debug)]
pub(super) enum Probe {
    Tcp { interval: Duration },
    Http { path: String, interval: Duration },
}

/// The endpoints of this process, as they were registered, by their id in Consul.
#[derive(Debug)]
pub(super) struct Checks {
    probe: Option<Probe>,
    registered: Mutex<BTreeMap<String, (Service, Duration)>>,
}

/// How long the agent may take to tell its servers.
const SETTLE: Duration = Duration::from_millis(700);
const NO_PANIC: &str = "nothing under this lock can panic";

impl Checks {
    pub(super) fn new(probe: Option<Probe>) -> Self {
        Self { probe, registered: Mutex::default() }
    }

    pub(super) async fn put(
        &self,
        catalog: &Catalog,
        service: &Service,
        ttl: Duration,
    ) -> Result<(), Trouble> {
        let mut fresh = Vec::new();
        for record in split(service) {
            let id = id_of(&record.name, &record.endpoints[0].id);
            let known = self.registered.lock().expect(NO_PANIC).get(&id) == Some(&(record.clone(), ttl));
            if known && self.renewed(catalog, &id, ttl).await? {
                continue;
            }
            let body = self.registration(&id, &record, ttl).to_string().into_bytes();
            catalog.agents().write("/v1/agent/service/register?replace-existing-checks=true", body).await?;
            self.registered.lock().expect(NO_PANIC).insert(id, (record.clone(), ttl));
            fresh.push(record);
        }
        settle(catalog, service, |set| fresh.iter().all(|record| holds(set, record))).await;
        Ok(())
    }

    /// Whether the agent still knows this endpoint, and believes in it for another TTL.
    async fn renewed(&self, catalog: &Catalog, id: &str, ttl: Duration) -> Result<bool, Trouble> {
        let renewed = if ttl.is_zero() || self.probe.is_some() {
            let path = format!("/v1/agent/service/{}?", escape(id));
            catalog.agents().own(&path).await.map(|Answer { said: IgnoredAny, .. }| ())
        } else {
            let check = escape(&self.check_id(id));
            catalog.agents().write(&format!("/v1/agent/check/pass/{check}?"), Vec::new()).await
        };
        match renewed {
            Ok(()) => Ok(true),
            // Consul says 404 or, before 1.13, 500 for a check it does not know.
            Err(Trouble::Refused { status, reason, .. }) if forgot(status, &reason) => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    fn registration(&self, id: &str, record: &Service, ttl: Duration) -> Value {
        let endpoint = &record.endpoints[0];
        let (host, port) = match (endpoint.address.host(), endpoint.address.port()) {
            (Some(host), Some(port)) => (host.trim_matches(['[', ']']).to_owned(), port),
            _ => (written(endpoint), 0),
        };
        let mut body = json!({
            "ID": id,
            "Name": record.name,
            "Tags": tags::write(record, endpoint),
            "Address": host,
            "Port": port,
            "Meta": meta(endpoint),
            "Weights": { "Passing": endpoint.weight.max(1), "Warning": 1 },
        });
        if let Some(mut check) = self.check(endpoint, ttl) {
            check["CheckID"] = self.check_id(id).into();
            body["Check"] = check;
        }
        body
    }

    /// One for each kind of check: an agent whose check becomes one of another kind under the same name goes on with both,
    /// and tells now what one saw, now what the other.
    fn check_id(&self, id: &str) -> String {
        match self.probe {
            None => format!("service:{id}"),
            Some(Probe::Tcp { .. }) => format!("service:{id}:tcp"),
            Some(Probe::Http { .. }) => format!("service:{id}:http"),
        }
    }

    fn check(&self, endpoint: &Endpoint, ttl: Duration) -> Option<Value> {
        // go-micro's rule: Consul takes no less than a minute.
        let minute = Duration::from_secs(60);
        let gone_after = ttl.max(minute) + Duration::from_secs(5);
        let mut check = match &self.probe {
            Some(Probe::Tcp { interval }) => {
                json!({ "TCP": endpoint.address.authority(), "Interval": go(*interval), "Timeout": "1s" })
            }
            Some(Probe::Http { path, interval }) => {
                let url = format!("{}://{}{path}", endpoint.address.scheme(), endpoint.address.authority());
                json!({ "HTTP": url, "Interval": go(*interval), "Timeout": "1s" })
            }
            None if ttl.is_zero() => return None,
            None => json!({ "TTL": go(ttl) }),
        };
        check["DeregisterCriticalServiceAfter"] = go(gone_after).into();
        check["Status"] = "passing".into();
        Some(check)
    }

    /// Deregisters the endpoints that are still as `service` says.
    pub(super) async fn remove(&self, catalog: &Catalog, service: &Service) -> Result<(), Trouble> {
        let mut gone = Vec::new();
        for record in split(service) {
            let id = id_of(&record.name, &record.endpoints[0].id);
            let path = escape(&id);
            let found = match catalog.agents().own::<Registered>(&format!("/v1/agent/service/{path}?")).await
            {
                Err(Trouble::Refused { status: StatusCode::NOT_FOUND, .. }) => None,
                found => found?.said.record(""),
            };
            let ours = self
                .registered
                .lock()
                .expect(NO_PANIC)
                .remove(&id)
                .is_some_and(|(r, _)| is_same(&r, &record));
            // What we have put there ourselves goes, even if the agent asked now says that it has never heard of it.
            if found.as_ref().map_or(ours, |found| is_same(found, &record)) {
                deregister(catalog, &path).await?;
                gone.push(record);
            }
        }
        settle(catalog, service, |set| gone.iter().all(|record| !holds(set, record))).await;
        Ok(())
    }
}

async fn deregister(catalog: &Catalog, path: &str) -> Result<(), Trouble> {
    match catalog.agents().write(&format!("/v1/agent/service/deregister/{path}?"), Vec::new()).await {
        Err(Trouble::Refused { status, .. }) if status == StatusCode::NOT_FOUND => Ok(()),
        done => done,
    }
}

/// Waits until the servers know what the agent knows, so that who reads next sees what was written. Not for long: the
/// agent will tell them in any case.
async fn settle(catalog: &Catalog, service: &Service, settled: impl Fn(&[Service]) -> bool) {
    if settled(&[]) && settled(std::slice::from_ref(service)) {
        return;
    }
    let settling = async {
        let mut index = 0;
        while let Ok(told) = catalog.query(&service.name, index).await {
            if settled(&told.set) || told.index == 0 {
                break;
            }
            index = told.index;
        }
    };
    timeout(SETTLE, settling).await.ok();
}

fn holds(set: &[Service], record: &Service) -> bool {
    set.iter().any(|service| {
        service.version == record.version && service.endpoints.iter().any(|e| *e == record.endpoints[0])
    })
}

fn is_same(found: &Service, ours: &Service) -> bool {
    found.version == ours.version && found.endpoints[0].address == ours.endpoints[0].address
}

fn forgot(status: StatusCode, reason: &str) -> bool {
    status == StatusCode::NOT_FOUND
        || reason.contains("does not have associated TTL")
        || reason.contains("Unknown check")
}

/// An agent's id for an endpoint: its own, as with go-micro, where it names its service and no other can have it. Else one
/// that is put together: two services may use one endpoint id, Consul's index knows no upper case, and who reads paths
/// without decoding them finds nothing to decode in plain names.
fn id_of(service: &str, endpoint: &str) -> String {
    if named_by(endpoint) == Some(service) && !endpoint.contains(|c: char| c.is_uppercase() || c == '~') {
        return endpoint.to_owned();
    }
    let mut id = String::new();
    for (n, name) in [service, endpoint].into_iter().enumerate() {
        if n > 0 {
            id.push_str("~.");
        }
        for c in name.chars() {
            if c.is_uppercase() || c == '~' {
                id.push('~');
            }
            id.extend(c.to_lowercase());
        }
    }
    id
}

/// The one service whose endpoints may be called so: `greeter` of `greeter-1`, or of `greeter-` and a UUID.
fn named_by(endpoint: &str) -> Option<&str> {
    let uuid = endpoint.len().checked_sub(UUID.iter().sum::<usize>() + UUID.len()).and_then(|at| {
        let (service, id) = endpoint.split_at_checked(at)?;
        let parts = id.strip_prefix('-')?.split('-');
        let hex = id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
        (hex && parts.map(str::len).eq(UUID)).then_some(service)
    });
    uuid.or_else(|| endpoint.rsplit_once('-').map(|(service, _)| service))
}

/// How many digits stand between the dashes of a UUID.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

/// The labels that Consul takes as they are; all of them are in the tags.
fn meta(endpoint: &Endpoint) -> BTreeMap<&String, &String> {
    let plain = |key: &str| key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let taken = |(key, value): &(&String, &String)| {
        plain(key) && key.len() <= 128 && value.len() <= 512 && !key.starts_with("consul-")
    };
    endpoint.metadata.iter().filter(taken).take(64).collect()
}

/// A duration as Go reads it.
fn go(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_names_its_service_is_kept_and_no_two_endpoints_share_one() {
        let uuid = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d";
        for (service, endpoint) in
            [("greeter", "greeter-1".to_owned()), ("go.micro.srv-a", format!("go.micro.srv-a-{uuid}"))]
        {
            assert_eq!(id_of(service, &endpoint), endpoint);
        }
        let services = ["a", "a-b", "a-b-1", "A", "a-0a1b2c3d", "é", &format!("a-{}", &uuid[..23])];
        let ids = ["a-b-1", "a-1", "A-1", "-1", "a-", "é-1", "a-b-~.", uuid, &format!("a-{uuid}")];
        let pairs = services.iter().flat_map(|service| ids.iter().map(move |id| id_of(service, id)));
        let distinct: std::collections::BTreeSet<_> = pairs.collect();
        assert_eq!(distinct.len(), services.len() * ids.len(), "{distinct:?}");
        assert!(distinct.iter().all(|id| id.to_lowercase() == *id));
    }
}
