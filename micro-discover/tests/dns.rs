//! The DNS registry against a name server that answers as each test says, over UDP and TCP.
#![cfg(feature = "dns")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/nameserver.rs"]
mod nameserver;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use micro_discover::{Dns, Error, Registry, Service, Watch, open};
use nameserver::{A, NameServer, Reply, SRV, addresses, srv};

fn ids(set: &[Service]) -> Vec<&str> {
    set.iter().flat_map(|service| &service.endpoints).map(|endpoint| endpoint.id.as_str()).collect()
}

fn code(code: u8) -> Reply {
    Reply { code, ..Reply::default() }
}

#[tokio::test]
async fn addresses_become_endpoints_at_the_port() {
    let server = NameServer::start(|name, kind, _| {
        assert_eq!(name, "greeter.shop");
        let mut reply = addresses(kind, 60, &[2, 1]);
        if kind != A {
            reply.answers.push((28, 60, std::net::Ipv6Addr::LOCALHOST.octets().to_vec()));
        }
        reply
    })
    .await;
    let url = format!("dns://{}/greeter.shop?port=80", server.address);
    let set = open(&url).unwrap().get("anything").await.unwrap();
    assert_eq!(ids(&set), ["10.0.0.1:80", "10.0.0.2:80", "[::1]:80"]);
    assert_eq!(set[0].name, "anything");
}

#[tokio::test]
async fn srv_records_bring_port_priority_and_weight() {
    let server = NameServer::start(|name, kind, _| match (name, kind) {
        ("_grpc._tcp.greeter.shop", SRV) => {
            Reply { answers: vec![srv(0, 5, 81, "a.shop"), srv(1, 0, 82, "b.shop")], ..Reply::default() }
        }
        ("a.shop", A) => addresses(kind, 60, &[1]),
        ("b.shop", A) => addresses(kind, 60, &[2]),
        _ => Reply::default(),
    })
    .await;
    let set = Dns::new().server(server.address).get("_grpc._tcp.greeter.shop").await.unwrap();
    let said: Vec<_> = set[0].endpoints.iter().map(|e| (e.id.as_str(), e.priority, e.weight)).collect();
    assert_eq!(said, [("10.0.0.1:81", 0, 5), ("10.0.0.2:82", 1, 1)], "weight 0 is rarely, not never");
    assert_eq!(set[0].endpoints[0].metadata["hostname"], "a.shop");
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let all: Vec<u8> = (1..=200).collect();
    let server = NameServer::start(move |_, kind, tcp| match tcp || kind != A {
        true => addresses(kind, 60, &all),
        false => Reply { truncated: true, ..addresses(kind, 60, &all[..3]) },
    })
    .await;
    let set = Dns::new().server(server.address).port(80).get("greeter.shop").await.unwrap();
    assert_eq!(set[0].endpoints.len(), 200);
}

#[tokio::test]
async fn an_alias_of_a_host_without_ipv6_has_the_addresses_that_there_are() {
    let server =
        NameServer::start(|_, kind, _| Reply { alias: Some(("host.shop", 60)), ..addresses(kind, 60, &[1]) });
    let dns = Dns::new().server(server.await.address).port(80);
    assert_eq!(ids(&dns.get("greeter.shop").await.unwrap()), ["10.0.0.1:80"]);
}

#[tokio::test]
async fn an_alias_that_its_server_does_not_follow_is_an_error_and_not_nobody() {
    let alias = || Reply { alias: Some(("host.elsewhere", 60)), alone: true, ..Reply::default() };
    let server = NameServer::start(move |_, _, _| alias()).await;
    let error = Dns::new().server(server.address).port(80).get("greeter.shop").await.unwrap_err();
    assert!(format!("{error:?}").contains("Alias"), "{error:?}");
}

#[tokio::test]
async fn what_an_alias_leads_to_is_asked_for_again_when_the_alias_is_over() {
    let server =
        NameServer::start(|_, kind, _| Reply { alias: Some(("old.shop", 1)), ..addresses(kind, 600, &[1]) })
            .await;
    let mut sets = Dns::new().server(server.address).port(80).watch("greeter.shop");
    assert_eq!(ids(&sets.next().await.unwrap().unwrap()), ["10.0.0.1:80"]);
    server.decide(|_, kind, _| Reply { alias: Some(("new.shop", 1)), ..addresses(kind, 600, &[2]) });
    let again = tokio::time::timeout(Duration::from_secs(20), sets.next()).await;
    assert_eq!(ids(&again.expect("it holds for a second").unwrap().unwrap()), ["10.0.0.2:80"]);
}

#[tokio::test]
async fn a_name_that_never_was_is_empty_and_one_that_vanishes_is_an_error() {
    let server = NameServer::start(|_, _, _| code(3)).await;
    let dns = Dns::new().server(server.address).port(80);
    assert_eq!(dns.get("greeter.shop").await.unwrap(), []);
    server.decide(|_, kind, _| addresses(kind, 0, &[1]));
    assert_eq!(ids(&dns.get("greeter.shop").await.unwrap()), ["10.0.0.1:80"]);
    for reply in [code(3), code(0), code(2), code(5)] {
        server.decide(move |_, _, _| reply.clone());
        assert!(matches!(dns.get("greeter.shop").await, Err(error) if error.is_retryable()));
    }
}

#[tokio::test]
async fn no_failure_takes_the_set_away_or_floods_the_server() {
    let server = NameServer::start(|_, kind, _| addresses(kind, 0, &[1])).await;
    let dns: Arc<dyn Registry> = Arc::new(Dns::new().server(server.address).port(80));
    let mut watch = Watch::new(dns, "greeter.shop");
    let status = watch.status();
    assert_eq!(ids(&watch.next().await.unwrap()), ["10.0.0.1:80"]);
    let lie = || addresses(A, 0, &[66]);
    let faults = [
        code(2),
        code(5),
        code(3),
        code(0),
        Reply { wrong_id: true, ..lie() },
        Reply { wrong_question: true, ..lie() },
        Reply { junk: true, ..lie() },
        Reply { alias: Some(("greeter.shop", 60)), ..Reply::default() },
        Reply { silent: true, ..Reply::default() },
    ];
    for fault in faults {
        let until = Instant::now() + Duration::from_secs(2);
        server.decide(move |_, _, _| fault.clone());
        if let Ok(set) = tokio::time::timeout_at(until.into(), watch.next()).await {
            panic!("a fault is no news: {set:?}");
        }
        assert!(status.stale_since().is_some());
    }
    server.decide(|_, kind, _| addresses(kind, 0, &[2]));
    let set = tokio::time::timeout(Duration::from_secs(30), watch.next()).await.unwrap().unwrap();
    assert_eq!(ids(&set), ["10.0.0.2:80"]);
    let asked = server.asked.lock().unwrap().clone();
    for from in &asked {
        let second = asked.iter().filter(|at| *at >= from && **at < *from + Duration::from_millis(900));
        assert!(second.count() <= 4, "{:?}", asked.iter().map(|at| *at - asked[0]).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn two_hundred_addresses_are_all_endpoints() {
    let hosts: Vec<u8> = (1..=200).collect();
    let server = NameServer::start(move |_, kind, tcp| Reply {
        // More than a datagram has room for.
        truncated: !tcp,
        ..addresses(kind, 0, if tcp { &hosts } else { &hosts[..20] })
    })
    .await;
    let set = Dns::new().server(server.address).port(80).get("greeter.shop").await.unwrap();
    assert_eq!(set.iter().map(|record| record.endpoints.len()).sum::<usize>(), 200);
}

#[tokio::test]
async fn a_changed_answer_is_seen_after_its_ttl_and_a_long_ttl_is_cut() {
    let server = NameServer::start(|_, kind, _| addresses(kind, 86_400, &[1])).await;
    let second = Duration::from_secs(1);
    let dns = Dns::new().server(server.address).port(80).ttl(second, second);
    let mut sets = dns.watch("greeter.shop");
    assert_eq!(ids(&sets.next().await.unwrap().unwrap()), ["10.0.0.1:80"]);
    server.decide(|_, kind, _| addresses(kind, 0, &[2, 3]));
    assert_eq!(ids(&sets.next().await.unwrap().unwrap()), ["10.0.0.2:80", "10.0.0.3:80"]);
}

#[tokio::test]
async fn an_answer_that_holds_for_no_time_is_not_asked_for_before_the_floor() {
    let server = NameServer::start(|_, kind, _| addresses(kind, 0, &[1])).await;
    let floor = Duration::from_millis(1_500);
    let dns = Dns::new().server(server.address).port(80).ttl(floor, Duration::from_secs(60));
    let mut sets = dns.watch("greeter.shop");
    for _ in 0..3 {
        assert_eq!(ids(&sets.next().await.unwrap().unwrap()), ["10.0.0.1:80"]);
    }
    let asked = server.asked.lock().unwrap().clone();
    // An A and an AAAA at a time.
    assert!(asked.len() <= 6 && asked[asked.len() - 1] - asked[0] >= 2 * floor - Duration::from_millis(50));
}

#[tokio::test]
async fn names_and_urls_that_are_none_are_refused() {
    for url in ["dns://localhost", "dns://127.0.0.1/a..b", "dns:///a?port=0", "dns:///a?color=red"] {
        assert!(matches!(open(url), Err(Error::Invalid { .. })), "{url}");
    }
    let registry = open("dns:").unwrap();
    for name in ["", "a b", "a/b", "..", "ä"] {
        assert!(matches!(registry.get(name).await, Err(Error::Invalid { .. })), "{name}");
    }
}
