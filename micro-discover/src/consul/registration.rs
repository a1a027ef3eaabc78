//! How an endpoint and its check are registered with an agent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::tags;
use crate::gomicro::written;
use crate::record::{Endpoint, Service};

/// What the agent does to see whether an endpoint is well.
#[derive(Debug)]
pub(super) enum Probe {
    Tcp { interval: Duration },
    Http { path: String, interval: Duration },
}

/// The registration of `record`'s only endpoint under `id`, as the agent is told.
pub(super) fn body(probe: Option<&Probe>, id: &str, record: &Service, ttl: Duration) -> Value {
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
    if let Some(mut check) = check(probe, endpoint, ttl) {
        check["CheckID"] = check_id(probe, id).into();
        body["Check"] = check;
    }
    body
}

/// One for each kind of check: an agent whose check becomes one of another kind under the same name goes on with both,
/// and tells now what one saw, now what the other.
pub(super) fn check_id(probe: Option<&Probe>, id: &str) -> String {
    match probe {
        None => format!("service:{id}"),
        Some(Probe::Tcp { .. }) => format!("service:{id}:tcp"),
        Some(Probe::Http { .. }) => format!("service:{id}:http"),
    }
}

fn check(probe: Option<&Probe>, endpoint: &Endpoint, ttl: Duration) -> Option<Value> {
    // go-micro's rule: Consul takes no less than a minute.
    let minute = Duration::from_secs(60);
    let gone_after = ttl.max(minute) + Duration::from_secs(5);
    let mut check = match probe {
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
