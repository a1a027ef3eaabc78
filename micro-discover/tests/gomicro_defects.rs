//! What users of go-micro's registries ran into, and does not happen here. Beside these: one event for many
//! keys of etcd (`etcd.rs`), labels that change in mDNS (`mdns.rs`), pods that appear (`kubernetes.rs`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use futures_util::StreamExt;
use micro_discover::{Endpoint, Service, open};

#[cfg(feature = "consul")]
mod servers;

const TTL: Duration = Duration::from_secs(60);

fn greeter(version: &str, id: &str) -> Service {
    let endpoint = Endpoint::new(id, "127.0.0.1:80".parse().unwrap());
    Service::new("greeter").version(version).endpoint(endpoint)
}

/// R11: watching everything in Consul fails. R12: nodes and versions of one service in one process overwrite each other,
/// because what was registered is remembered by the service's name.
#[cfg(feature = "consul")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r11_r12_all_services_of_consul_are_told_and_two_of_a_name_in_one_process_kept_apart() {
    let Some(server) = servers::consul::Consul::start() else { return };
    let registry = open(&server.url()).unwrap();
    let (one, two) = (greeter("1", "a"), greeter("2", "b"));
    for record in [&one, &two, &one, &two] {
        registry.announce(record, TTL).await.unwrap();
    }
    registry.announce(&Service::new("other").endpoint(one.endpoints[0].clone()), TTL).await.unwrap();
    assert_eq!(registry.get("greeter").await.unwrap(), [one.clone(), two.clone()]);
    let listed = registry.list().await.unwrap();
    let names: Vec<_> =
        listed.iter().map(|service| (service.name.as_str(), service.version.as_str())).collect();
    assert_eq!(names, [("greeter", "1"), ("greeter", "2"), ("other", "latest")]);
    registry.withdraw(&one).await.unwrap();
    registry.announce(&two, TTL).await.unwrap();
    assert_eq!(registry.get("greeter").await.unwrap(), [two]);
}

/// R14: what expires in memory is told to nobody, and who is slow for 10 ms misses changes.
#[tokio::test(start_paused = true)]
async fn r14_an_endpoint_that_expires_in_memory_is_told_and_a_slow_watcher_misses_nothing() {
    let registry = open("memory:r14").unwrap();
    let mut sets = registry.watch("greeter");
    assert_eq!(sets.next().await.unwrap().unwrap(), []);
    registry.announce(&greeter("1", "a"), Duration::from_secs(5)).await.unwrap();
    registry.announce(&greeter("1", "b"), TTL).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let both = greeter("1", "a").endpoint(greeter("1", "b").endpoints[0].clone());
    assert_eq!(sets.next().await.unwrap().unwrap(), [both]);
    let gone = tokio::time::timeout(Duration::from_secs(6), sets.next()).await.expect("told when it expires");
    assert_eq!(gone.unwrap().unwrap(), [greeter("1", "b")]);
}
