//! What every registry does that takes announcements: one suite, run against each of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, future::join_all};
use micro_discover::{Endpoint, Error, Memory, Method, Registry, Service, Shape};

#[cfg(any(feature = "consul", feature = "etcd", feature = "nats"))]
mod servers;
// What else is promised of those that are kept on a server: whatever becomes of it, or of the way there.
#[cfg(all(feature = "consul", feature = "etcd", feature = "nats"))]
#[path = "support/seen.rs"]
mod seen;
#[cfg(all(feature = "consul", feature = "etcd", feature = "nats"))]
#[path = "contract/trouble.rs"]
mod trouble;

const TTL: Duration = Duration::from_secs(60);

/// Runs each behaviour once per registry.
macro_rules! contract {
    ($($behaviour:ident)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour(super::Arc::new(super::Memory::new())).await;
            })*
        }
        #[cfg(feature = "consul")]
        mod consul {
            $(#[tokio::test]
            async fn $behaviour() {
                let Some(server) = super::servers::consul::Consul::start() else { return };
                super::$behaviour(micro_discover::open(&server.url()).unwrap()).await;
            })*
        }
        #[cfg(feature = "etcd")]
        mod etcd {
            $(#[tokio::test]
            async fn $behaviour() {
                let Some(server) = super::servers::etcd::Etcd::start() else { return };
                super::$behaviour(micro_discover::open(&server.url()).unwrap()).await;
            })*
        }
        #[cfg(feature = "mdns")]
        mod mdns {
            $(#[tokio::test]
            async fn $behaviour() {
                // A port of its own is a network of its own.
                let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
                let url = format!("mdns://?interface=lo&port={port}");
                super::$behaviour(micro_discover::open(&url).unwrap()).await;
            })*
        }
        #[cfg(feature = "nats")]
        mod nats {
            $(#[tokio::test]
            async fn $behaviour() {
                let Some(server) = super::servers::nats::Nats::start() else { return };
                super::$behaviour(micro_discover::open(&server.url()).unwrap()).await;
            })*
        }
        #[cfg(feature = "nats")]
        mod nats_bucket {
            $(#[tokio::test]
            async fn $behaviour() {
                let Some(server) = super::servers::nats::Nats::start() else { return };
                super::$behaviour(micro_discover::open(&server.bucket_url()).unwrap()).await;
            })*
        }
        #[cfg(feature = "file")]
        mod file {
            $(#[tokio::test]
            async fn $behaviour() {
                let temp = tempfile::tempdir().unwrap();
                super::$behaviour(super::Arc::new(micro_discover::File::new(temp.path().join("r")))).await;
            })*
        }
    };
}

contract! {
    an_unknown_name_has_no_endpoints_and_whoever_watches_it_is_told_so
    an_announced_endpoint_is_found_listed_and_watched
    every_field_of_a_record_arrives
    replicas_that_do_not_know_of_each_other_add_up
    announcing_again_changes_nothing_but_what_differs
    an_endpoint_that_comes_back_with_another_version_replaces_itself
    withdrawing_removes_what_is_still_as_announced_and_nothing_else
    an_endpoint_that_is_not_renewed_expires_and_one_that_is_stays
    a_record_that_breaks_a_rule_is_refused_by_name
    names_that_look_alike_or_odd_are_kept_apart
    a_watched_set_only_grows_while_replicas_join
    every_watcher_sees_its_own_service
    a_thousand_endpoints_are_one_set
}

type Shared = Arc<dyn Registry>;
type Sets = futures_core::stream::BoxStream<'static, Result<Vec<Service>, Error>>;

fn endpoint(id: &str) -> Endpoint {
    Endpoint::new(id, "127.0.0.1:80".parse().unwrap())
}

fn greeter(id: &str) -> Service {
    Service::new("greeter").endpoint(endpoint(id))
}

fn ids(set: &[Service]) -> Vec<&str> {
    set.iter().flat_map(|service| &service.endpoints).map(|endpoint| endpoint.id.as_str()).collect()
}

async fn next<S: Stream + Unpin>(stream: &mut S) -> S::Item {
    tokio::time::timeout(Duration::from_secs(60), stream.next())
        .await
        .expect("in time")
        .expect("a watch goes on")
}

async fn next_set(sets: &mut Sets) -> Vec<Service> {
    next(sets).await.unwrap()
}

/// Waits for a set with exactly these ids.
async fn reaches(sets: &mut Sets, wanted: &[&str]) {
    while ids(&next_set(sets).await) != wanted {}
}

async fn an_unknown_name_has_no_endpoints_and_whoever_watches_it_is_told_so(registry: Shared) {
    assert_eq!(registry.get("greeter").await.unwrap(), []);
    assert_eq!(registry.list().await.unwrap(), []);
    assert_eq!(next_set(&mut registry.watch("greeter")).await, []);
}

async fn an_announced_endpoint_is_found_listed_and_watched(registry: Shared) {
    let mut early = registry.watch("greeter");
    assert_eq!(next_set(&mut early).await, []);
    registry.announce(&greeter("a"), TTL).await.unwrap();
    assert_eq!(registry.get("greeter").await.unwrap(), [greeter("a")]);
    let listed = registry.list().await.unwrap();
    assert_eq!((listed.len(), listed[0].name.as_str(), listed[0].version.as_str()), (1, "greeter", "latest"));
    assert_eq!(next_set(&mut early).await, [greeter("a")]);
    assert_eq!(next_set(&mut registry.watch("greeter")).await, [greeter("a")], "one who comes later");
}

async fn every_field_of_a_record_arrives(registry: Shared) {
    let address = |text: &str| text.parse().unwrap();
    let request = Shape::new("Req", "Req").value(Shape::new("name", "string"));
    let method = Method::new("/greeter.Greeter/Hello").request(request).metadata("stream", "false");
    let record = Service::new("greeter")
        .version("1.2.3-rc.1")
        .metadata("owner", "us \"and\" them\n")
        .method(method.response(Shape::new("Rsp", "Rsp")))
        .endpoint(Endpoint::new("a", address("https://[::1]:1")).weight(0).priority(7).zone("eu"))
        .endpoint(Endpoint::new("b", address("unix:/run/b.sock")).weight(65_535).metadata("k", "v"));
    registry.announce(&record, Duration::ZERO).await.unwrap();
    assert_eq!(registry.get("greeter").await.unwrap(), [record]);
}

async fn replicas_that_do_not_know_of_each_other_add_up(registry: Shared) {
    let mut sets = registry.watch("greeter");
    for (version, id) in [("1", "b"), ("1", "a"), ("2", "c")] {
        registry.announce(&greeter(id).version(version), TTL).await.unwrap();
    }
    let got = registry.get("greeter").await.unwrap();
    assert_eq!(ids(&got), ["a", "b", "c"]);
    assert_eq!(got.iter().map(|service| service.version.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    reaches(&mut sets, &["a", "b", "c"]).await;
    assert_eq!(registry.list().await.unwrap().len(), 2);
}

async fn announcing_again_changes_nothing_but_what_differs(registry: Shared) {
    let mut sets = registry.watch("greeter");
    registry.announce(&greeter("a"), TTL).await.unwrap();
    reaches(&mut sets, &["a"]).await;
    registry.announce(&greeter("a"), TTL).await.unwrap();
    registry.announce(&greeter("a"), TTL * 2).await.unwrap();
    let drained = Service::new("greeter").endpoint(endpoint("a").weight(0));
    registry.announce(&drained, TTL).await.unwrap();
    assert_eq!(next_set(&mut sets).await, [drained], "the first news is the difference");
}

async fn an_endpoint_that_comes_back_with_another_version_replaces_itself(registry: Shared) {
    registry.announce(&greeter("a").version("1"), TTL).await.unwrap();
    registry.announce(&greeter("a").version("2"), TTL).await.unwrap();
    assert_eq!(registry.get("greeter").await.unwrap(), [greeter("a").version("2")]);
}

async fn withdrawing_removes_what_is_still_as_announced_and_nothing_else(registry: Shared) {
    let mut sets = registry.watch("greeter");
    let both = greeter("a").endpoint(endpoint("b"));
    registry.announce(&both, TTL).await.unwrap();
    registry.announce(&greeter("c"), TTL).await.unwrap();
    reaches(&mut sets, &["a", "b", "c"]).await;

    registry.withdraw(&greeter("nobody")).await.unwrap();
    registry.withdraw(&Service::new("nothing").endpoint(endpoint("a"))).await.unwrap();
    let moved = Service::new("greeter").endpoint(Endpoint::new("a", "127.0.0.1:81".parse().unwrap()));
    registry.withdraw(&moved).await.unwrap();
    registry.withdraw(&greeter("a").version("0")).await.unwrap();
    assert_eq!(ids(&registry.get("greeter").await.unwrap()), ["a", "b", "c"]);

    registry.withdraw(&both).await.unwrap();
    assert_eq!(ids(&registry.get("greeter").await.unwrap()), ["c"]);
    reaches(&mut sets, &["c"]).await;
    registry.withdraw(&greeter("c")).await.unwrap();
    registry.withdraw(&greeter("c")).await.unwrap();
    reaches(&mut sets, &[]).await;

    registry.announce(&greeter("c"), TTL).await.unwrap();
    reaches(&mut sets, &["c"]).await;
    assert_eq!(ids(&registry.list().await.unwrap()), ["c"]);
}

async fn an_endpoint_that_is_not_renewed_expires_and_one_that_is_stays(registry: Shared) {
    let mut sets = registry.watch("greeter");
    registry.announce(&greeter("a"), Duration::from_secs(2)).await.unwrap();
    registry.announce(&greeter("b"), Duration::from_secs(2)).await.unwrap();
    registry.announce(&greeter("b"), TTL).await.unwrap();
    reaches(&mut sets, &["a", "b"]).await;
    assert_eq!(ids(&next_set(&mut sets).await), ["b"]);
    assert_eq!(ids(&registry.get("greeter").await.unwrap()), ["b"]);
}

async fn a_record_that_breaks_a_rule_is_refused_by_name(registry: Shared) {
    let long = "x".repeat(10_000);
    let refused = [
        (Service::new("greeter"), "no endpoint to announce"),
        (Service::new("").endpoint(endpoint("a")), "service name \"\": it is empty"),
        (Service::new("../greeter").endpoint(endpoint("a")), "it contains a slash"),
        (Service::new("a\0b").endpoint(endpoint("a")), "control character U+0000"),
        (Service::new(&long).endpoint(endpoint("a")), "it has 10000 bytes"),
        (greeter(".."), "id of endpoint \"..\" of service \"greeter\""),
        (greeter("a").version("1/2"), "version \"1/2\" of service \"greeter\""),
        (Service::new("greeter").endpoint(endpoint("a").weight(70_000)), "weight 70000 is not in 0..=65535"),
        (greeter("a").endpoint(endpoint("a")), "its id is used twice"),
    ];
    for (record, why) in refused {
        for tried in [registry.announce(&record, TTL).await, registry.withdraw(&record).await] {
            let error = tried.unwrap_err();
            assert!(matches!(error, Error::Invalid { .. }) && !error.is_retryable());
            assert!(error.to_string().contains(why), "{error}, not {why}");
        }
    }
    for name in ["", "..", "a/b", "a\0b", &long] {
        assert!(matches!(registry.get(name).await, Err(Error::Invalid { .. })));
        assert!(matches!(next(&mut registry.watch(name)).await, Err(Error::Invalid { .. })));
    }
    assert_eq!(registry.list().await.unwrap(), []);
}

async fn names_that_look_alike_or_odd_are_kept_apart(registry: Shared) {
    let longest = "x".repeat(255);
    let names = [
        "greeter", "Greeter", "gree_ter", "gree ter", "topic:a", "%2e%2e", ".hidden", "Grüße", "con",
        &longest,
    ];
    for name in names {
        for id in names {
            registry.announce(&Service::new(name).endpoint(endpoint(id)), TTL).await.unwrap();
        }
    }
    for name in names {
        let got = registry.get(name).await.unwrap();
        assert_eq!((got.len(), got[0].endpoints.len()), (1, names.len()), "{name}");
    }
    assert_eq!(registry.list().await.unwrap().len(), names.len());
}

async fn a_watched_set_only_grows_while_replicas_join(registry: Shared) {
    const REPLICAS: usize = 50;
    let mut sets = registry.watch("greeter");
    let joining = join_all((0..REPLICAS).map(|n| {
        let registry = registry.clone();
        tokio::spawn(async move { registry.announce(&greeter(&format!("r{n}")), TTL).await })
    }));
    let mut seen = 0;
    while seen < REPLICAS {
        let found = ids(&next_set(&mut sets).await).len();
        assert!(found >= seen, "{found} after {seen}");
        seen = found;
    }
    assert!(joining.await.into_iter().all(|joined| joined.unwrap().is_ok()));
}

async fn every_watcher_sees_its_own_service(registry: Shared) {
    let mut watchers = [registry.watch("greeter"), registry.watch("greeter"), registry.watch("other")];
    for watcher in &mut watchers {
        assert_eq!(next_set(watcher).await, []);
    }
    registry.announce(&greeter("a"), TTL).await.unwrap();
    let other = Service::new("other").endpoint(endpoint("o"));
    registry.announce(&other, TTL).await.unwrap();
    for (watcher, expected) in watchers.iter_mut().zip([greeter("a"), greeter("a"), other]) {
        assert_eq!(next_set(watcher).await, [expected]);
    }
}

async fn a_thousand_endpoints_are_one_set(registry: Shared) {
    const MANY: usize = 1_000;
    let record =
        (0..MANY).fold(Service::new("greeter"), |all, n| all.endpoint(endpoint(&format!("e{n:04}"))));
    registry.announce(&record, TTL).await.unwrap();
    assert_eq!(registry.get("greeter").await.unwrap(), std::slice::from_ref(&record));
    let mut sets = registry.watch("greeter");
    assert_eq!(next_set(&mut sets).await, std::slice::from_ref(&record), "never a part of it");
    registry.withdraw(&record).await.unwrap();
    while !next_set(&mut sets).await.is_empty() {}
}
