//! Two processes that announce one id at two addresses replace each other's record: either says so, once.
#![cfg(all(feature = "consul", feature = "etcd", feature = "file", feature = "mdns", feature = "nats"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use micro_discover::{Announce, Endpoint, Registry, Service, open};

#[path = "support/log.rs"]
mod log;
mod servers;

const TTL: Duration = Duration::from_secs(1);
/// Longer than that, so that whatever is done once a TTL is done again.
const LATER: Duration = Duration::from_millis(1_200);
const OURS: &str = "10.0.0.1:80";
const THEIRS: &str = "10.0.0.2:80";

/// What was said of somebody else who announces an endpoint of `service`.
fn warnings(service: &str) -> Vec<String> {
    let said = |line: &&str| line.contains("somebody else announces") && line.contains(service);
    log::text().lines().filter(said).map(str::to_owned).collect()
}

fn record(service: &str, address: &str) -> Service {
    Service::new(service).endpoint(Endpoint::new(format!("{service}-1"), address.parse().unwrap()))
}

/// Two who announce in turns, as if each were a process of its own.
async fn two_say_so_once(name: &str, registries: [Arc<dyn Registry>; 2], ttl: Duration) {
    log::keep();
    let [ours, theirs] = registries;
    let start = Instant::now();
    let (mine, other) = (record(name, OURS), record(name, THEIRS));
    while warnings(name).len() < 2 {
        assert!(start.elapsed() < Duration::from_secs(40), "{name}: {:?}", warnings(name));
        ours.announce(&mine, ttl).await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
        theirs.announce(&other, ttl).await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    for _ in 0..2 {
        ours.announce(&mine, ttl).await.unwrap();
        tokio::time::sleep(LATER).await;
        theirs.announce(&other, ttl).await.unwrap();
        tokio::time::sleep(LATER).await;
    }
    let said = warnings(name);
    assert_eq!(said.len(), 2, "{name}: once each: {said:?}");
    for (a, b) in [(OURS, THEIRS), (THEIRS, OURS)] {
        let parts = [format!("ours={a}"), format!("theirs={b}"), format!("endpoint=\"{name}-1\"")];
        let told = |line: &String| line.contains(" WARN ") && parts.iter().all(|part| line.contains(part));
        assert!(said.iter().any(told), "{name}: {said:?} without {parts:?}");
    }

    // Once it was withdrawn, another time is another story.
    ours.withdraw(&mine).await.unwrap();
    let start = Instant::now();
    while warnings(name).len() < 3 {
        assert!(start.elapsed() < Duration::from_secs(40), "{name}: {:?}", warnings(name));
        ours.announce(&mine, ttl).await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
        theirs.announce(&other, ttl).await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

/// Whoever moves, comes back after a crash, or is announced twice at one address, is no other.
async fn nobody_is_blamed(name: &str, registries: [Arc<dyn Registry>; 2], ttl: Duration) {
    log::keep();
    let [before, after] = registries;
    before.announce(&record(name, OURS), ttl).await.unwrap();
    before.announce(&record(name, "10.0.0.3:80"), ttl).await.unwrap();
    tokio::time::sleep(LATER).await;
    before.announce(&record(name, "10.0.0.3:80"), ttl).await.unwrap();
    for address in [THEIRS, THEIRS, "10.0.0.4:80", "10.0.0.4:80"] {
        after.announce(&record(name, address), ttl).await.unwrap();
        tokio::time::sleep(LATER).await;
    }
    assert_eq!(warnings(name).iter().filter(|line| line.contains("ours=10.0.0.2")).count(), 0);
    assert_eq!(warnings(name).iter().filter(|line| line.contains("ours=10.0.0.4")).count(), 0);
}

async fn both(name: &str, open: impl Fn() -> Arc<dyn Registry>, ttl: Duration) {
    let (loud, quiet) = (format!("{name}-loud"), format!("{name}-quiet"));
    tokio::join!(
        two_say_so_once(&loud, [open(), open()], ttl),
        nobody_is_blamed(&quiet, [open(), open()], ttl),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_directory() {
    let temp = tempfile::tempdir().unwrap();
    let url = format!("file:{}", temp.path().display());
    both("file", || open(&url).unwrap(), TTL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_etcd() {
    let Some(server) = servers::etcd::Etcd::start() else { return };
    both("etcd", || open(&server.url()).unwrap(), Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_an_agent_of_consul() {
    let Some(server) = servers::consul::Consul::start() else { return };
    both("consul", || open(&server.url()).unwrap(), TTL).await;
    both("consul-for-ever", || open(&server.url()).unwrap(), Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_nats_and_in_a_bucket() {
    let Some(server) = servers::nats::Nats::start() else { return };
    both("nats", || open(&server.url()).unwrap(), TTL * 60).await;
    both("bucket", || open(&server.bucket_url()).unwrap(), TTL * 60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_local_network() {
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("mdns://?interface=lo&port={port}");
    both("mdns", || open(&url).unwrap(), TTL * 60).await;
}

/// At one agent the check of whoever came first has the name of the other's: it must not pass for who is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_took_an_endpoint_of_consul_and_died_gives_it_back() {
    let Some(server) = servers::consul::Consul::start() else { return };
    let (ours, theirs) = (open(&server.url()).unwrap(), open(&server.url()).unwrap());
    let announcement = Announce::new(ours.clone(), record("taken", OURS)).ttl(TTL * 2).start().await.unwrap();
    announcement.announced().await;
    theirs.announce(&record("taken", THEIRS), TTL * 2).await.unwrap();
    assert_eq!(ours.get("taken").await.unwrap(), [record("taken", THEIRS)]);
    let start = Instant::now();
    while ours.get("taken").await.unwrap() != [record("taken", OURS)] {
        assert!(start.elapsed() < Duration::from_secs(20), "never given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    announcement.withdraw().await.unwrap();
}
