//! Services that go-micro v3, v5 and v6 keep in etcd, Consul and NATS are found by us, and ours by them: their own
//! registries, on real servers.
#![cfg(all(feature = "consul", feature = "etcd", feature = "nats"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use micro_discover::{Endpoint, Method, Registry, Service, open};

#[path = "support/gopeer.rs"]
mod gopeer;
mod servers;

const MINUTE: Duration = Duration::from_secs(60);

/// A kind of registry as the peer calls it, where it is, and its URL.
struct Place {
    kind: &'static str,
    server: String,
    url: String,
}

/// What `Place` tells of a server on this port.
fn place(kind: &'static str, port: u16) -> Place {
    let server = format!("127.0.0.1:{port}");
    Place { kind, url: format!("{kind}://{server}"), server }
}

/// It finds and lists what we announce.
async fn finds_ours(peer: &Path, place: &Place, registry: &dyn Registry) {
    let endpoint = Endpoint::new("ours-1", "127.0.0.1:8080".parse().unwrap()).metadata("k", "v");
    let record = Service::new("ours").version("1.0").method(Method::new("Greeter.Hello")).endpoint(endpoint);
    registry.announce(&record, MINUTE).await.unwrap();
    let (peer, kind, server) = (peer.to_owned(), place.kind, place.server.clone());
    let (nodes, services) = tokio::task::spawn_blocking(move || {
        let nodes = gopeer::asked(&peer, &[kind, &server, "get", "ours"], "");
        (nodes, gopeer::asked(&peer, &[kind, &server, "list"], "ours"))
    })
    .await
    .unwrap();
    assert_eq!(nodes, ["1.0 ours-1 127.0.0.1:8080 v Greeter.Hello"], "{kind}");
    assert_eq!(services, ["ours"], "{kind}");
    registry.withdraw(&record).await.unwrap();
}

/// We watch what it announces, find it and list it, until it says good-bye.
async fn is_found(peer: &Path, place: &Place, registry: &dyn Registry) {
    let mut sets = registry.watch("theirs");
    assert_eq!(sets.next().await.unwrap().unwrap(), [], "{}", place.kind);
    let args = [place.kind, &place.server, "register", "theirs", "node-1", "127.0.0.1:8080"];
    let running = gopeer::Running::start(peer, &args);
    let endpoint = Endpoint::new("node-1", "127.0.0.1:8080".parse().unwrap()).metadata("transport", "http");
    let method = Method::new("Greeter.Hello").metadata("stream", "false");
    let wanted = [Service::new("theirs").version("1.2.3").method(method).endpoint(endpoint)];
    let found = tokio::time::timeout(MINUTE, async { sets.next().await.unwrap().unwrap() });
    assert_eq!(found.await.expect("found in time"), wanted, "{}", place.kind);
    // Who is busy answers late: where a question goes to everyone it is no promise.
    let asked = async { while registry.get("theirs").await.unwrap() != wanted {} };
    tokio::time::timeout(MINUTE, asked).await.expect("answered in time");
    let listed =
        async { while !registry.list().await.unwrap().iter().any(|listed| listed.name == "theirs") {} };
    tokio::time::timeout(MINUTE, listed).await.expect("listed in time");
    running.finish();
    let missed = tokio::time::timeout(MINUTE, async { sets.next().await.unwrap().unwrap() });
    assert_eq!(missed.await.expect("missed in time"), [], "{}", place.kind);
}

/// go-micro `version` and we find each other on every kind of server.
async fn either_finds_the_others_services(version: &str) {
    let servers =
        (servers::etcd::Etcd::start(), servers::consul::Consul::start(), servers::nats::Nats::start());
    let (Some(etcd), Some(consul), Some(nats)) = servers else { return };
    let wanted = version.to_owned();
    let peer = tokio::task::spawn_blocking(move || gopeer::built(&wanted)).await.unwrap();
    let Some(peer) = peer else { return };
    let places = [place("etcd", etcd.ports[0]), place("consul", consul.port), place("nats", nats.port)];
    for place in &places {
        let registry = open(&place.url).unwrap();
        finds_ours(&peer, place, &*registry).await;
        is_found(&peer, place, &*registry).await;
        println!("go-micro {version}, {}: either finds the other's services", place.kind);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_micro_v3_and_we_find_each_other_in_etcd_consul_and_nats() {
    either_finds_the_others_services("v3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_micro_v5_and_we_find_each_other_in_etcd_consul_and_nats() {
    either_finds_the_others_services("v5").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_micro_v6_and_we_find_each_other_in_etcd_consul_and_nats() {
    either_finds_the_others_services("v6").await;
}
