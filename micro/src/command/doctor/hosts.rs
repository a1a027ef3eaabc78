//! The names of hosts in URLs and addresses, and whether they are known.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use micro_discover::Address;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::within::{all_by, within};
use crate::command::reply::Finding;

/// A host, and where on it.
pub(super) type Host = (String, u16);

/// How many are asked for at a time.
const AT_A_TIME: usize = 16;

/// The hosts of `scheme://user:password@host:port,host/path?query`, of schemes whose URLs name some.
pub(super) fn of(url: &str) -> Vec<Host> {
    let Some((scheme, rest)) = url.split_once("://") else { return Vec::new() };
    let Some(port) = usual_port(scheme) else { return Vec::new() };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    let each = hosts.split([',', ';']).filter(|host| !host.is_empty() && !host.contains('='));
    each.map(|host| split(host, port)).collect()
}

/// Where servers of a scheme listen unless a URL says otherwise; none for what names no host.
fn usual_port(scheme: &str) -> Option<u16> {
    Some(match scheme {
        "etcd" | "etcds" => 2379,
        "consul" | "consuls" => 8500,
        "nats" | "nats+kv" | "tls" => 4222,
        "amqp" | "rabbitmq" => 5672,
        "amqps" => 5671,
        "dns" => 53,
        "http" => 80,
        "https" => 443,
        _ => return None,
    })
}

/// `host:port`, `host`, `[::1]:port` and `[::1]`.
fn split(text: &str, usual: u16) -> Host {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if (host.ends_with(']') || !host.contains(':')) && !port.ends_with(']') => {
            (host, port.parse().unwrap_or(usual))
        }
        _ => (text, usual),
    };
    (host.trim_start_matches('[').trim_end_matches(']').to_owned(), port)
}

/// The host of an endpoint's address, if it is one over TCP.
pub(super) fn at(address: &Address) -> Option<Host> {
    let usual = usual_port(address.scheme())?;
    Some((address.host()?.trim_matches(['[', ']']).to_owned(), address.port().unwrap_or(usual)))
}

/// Why none of `hosts` takes a connection; nothing where one does, or there is none.
pub(super) async fn unreachable(hosts: &[Host], limit: Duration) -> Option<String> {
    let mut last = None;
    // There is as much time left for whoever does take one.
    let limit = limit / 2 / u32::try_from(hosts.len().max(1)).unwrap_or(u32::MAX);
    for (host, port) in hosts {
        let why = match timeout(limit, TcpStream::connect((host.as_str(), *port))).await {
            Ok(Ok(_)) => return None,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no connection within {limit:?}"),
        };
        last = Some(format!("{host}:{port} cannot be reached: {why}"));
    }
    last
}

/// Looks up what is a name, each once, until `end` at most.
pub(super) async fn look(hosts: Vec<Host>, limit: Duration, end: Instant) -> Vec<Finding> {
    let names: BTreeSet<_> =
        hosts.into_iter().filter(|(host, _)| host.parse::<IpAddr>().is_err()).map(|(h, _)| h).collect();
    let wanted = names.len();
    let look = |(at, name): (usize, String)| async move { (at, resolved(name, limit).await) };
    let looks = stream::iter(names.into_iter().enumerate()).map(look).buffer_unordered(AT_A_TIME);
    let mut found = all_by(end, looks).await;
    let left = wanted - found.len();
    if left > 0 {
        let said = format!("{left} names of hosts were not looked up in the time there was");
        found.push(Finding::warning("dns", "the others", said, "a longer --within"));
    }
    found
}

async fn resolved(name: String, limit: Duration) -> Finding {
    let hint = "another spelling, or a look into /etc/hosts and /etc/resolv.conf";
    let look = async {
        match lookup_host((name.as_str(), 0)).await {
            Ok(found) => {
                let found: BTreeSet<_> = found.map(|address| address.ip().to_string()).collect();
                let found: Vec<_> = found.into_iter().collect();
                Finding::ok("dns", &name, found.join(" "))
            }
            Err(error) => Finding::failed("dns", &name, error.to_string(), hint),
        }
    };
    let late = Finding::failed("dns", &name, format!("no answer within {limit:?}"), hint);
    within(limit, look, late).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_in_urls_of_every_kind() {
        let cases: [(&str, &[(&str, u16)]); 9] = [
            ("file:/dir", &[]),
            ("memory:", &[]),
            ("fixed://a:1,b:2", &[]),
            ("etcd://user:p@ss@h1:1,h2?grace=20", &[("h1", 1), ("h2", 2379)]),
            ("consuls://h", &[("h", 8500)]),
            ("nats+kv://[::1]:4000/bucket", &[("::1", 4000)]),
            ("amqp://[::1]", &[("::1", 5672)]),
            ("http://127.0.0.1:8081", &[("127.0.0.1", 8081)]),
            ("dns:///greeter", &[]),
        ];
        for (url, hosts) in cases {
            let hosts: Vec<_> = hosts.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect();
            assert_eq!(of(url), hosts, "{url}");
        }
        assert_eq!(at(&"greeter.example:80".parse().unwrap()), Some(("greeter.example".to_owned(), 80)));
        assert_eq!(at(&"unix:/run/a".parse().unwrap()), None);
    }
}
