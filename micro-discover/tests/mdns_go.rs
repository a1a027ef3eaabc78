//! go-micro's own default registry finds our services on the network, and we find its.
#![cfg(feature = "mdns")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use micro_discover::{Endpoint, Method, Service, open};

#[path = "support/gopeer.rs"]
mod gopeer;

/// The peer's program, or none where it cannot be built or heard.
fn peer() -> Option<PathBuf> {
    // go-micro sends by the default route, whatever interfaces there are.
    let everyone = UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"", "224.0.0.251:5353");
    if let Err(error) = everyone {
        println!("skipped: no network that takes multicast: {error}");
        return None;
    }
    gopeer::built("v5")
}

/// A name that nobody else on the network has.
fn unique(name: &str) -> String {
    format!("micro.test.{name}-{:08x}", fastrand::u32(..))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_micro_finds_and_lists_what_we_announce() {
    let Some(peer) = peer() else { return };
    let name = unique("ours");
    let registry = open("mdns:").unwrap();
    let endpoint = Endpoint::new("node-1", "127.0.0.1:8080".parse().unwrap()).metadata("k", "v");
    let record = Service::new(&name).version("1.0").method(Method::new("Greeter.Hello")).endpoint(endpoint);
    registry.announce(&record, Duration::from_secs(600)).await.unwrap();
    let asked = name.clone();
    let (nodes, services) = tokio::task::spawn_blocking(move || {
        (
            gopeer::asked(&peer, &["mdns", "", "get", &asked], ""),
            gopeer::asked(&peer, &["mdns", "", "list"], &asked),
        )
    })
    .await
    .unwrap();
    assert_eq!(nodes, ["1.0 node-1 127.0.0.1:8080 v Greeter.Hello"]);
    assert_eq!(services, [name]);
    registry.withdraw(&record).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_find_watch_and_miss_what_go_micro_announces() {
    let Some(peer) = peer() else { return };
    let name = unique("theirs");
    let registry = open("mdns:").unwrap();
    let mut sets = registry.watch(&name);
    assert_eq!(sets.next().await.unwrap().unwrap(), []);
    let args = ["mdns", "", "register", &name, "node-1", "127.0.0.1:8080"];
    let running = gopeer::Running::start(&peer, &args);
    let endpoint = Endpoint::new("node-1", "127.0.0.1:8080".parse().unwrap()).metadata("transport", "http");
    let method = Method::new("Greeter.Hello").metadata("stream", "false");
    let wanted = [Service::new(&name).version("1.2.3").method(method).endpoint(endpoint)];
    let minute = Duration::from_secs(60);
    let found = tokio::time::timeout(minute, async { sets.next().await.unwrap().unwrap() });
    assert_eq!(found.await.expect("found in time"), wanted);
    // Who is busy answers late: a question is no promise.
    let asked = async { while registry.get(&name).await.unwrap() != wanted {} };
    tokio::time::timeout(minute, asked).await.expect("answered in time");
    let listed = async { while !registry.list().await.unwrap().contains(&wanted[0]) {} };
    tokio::time::timeout(minute, listed).await.expect("listed in time");
    // It says good-bye when it ends.
    running.finish();
    let missed = tokio::time::timeout(minute, async { sets.next().await.unwrap().unwrap() });
    assert_eq!(missed.await.expect("missed in time"), []);
}
