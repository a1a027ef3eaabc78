//! Registries on one network, here the loopback interface, that find each other's services without a server.
#![cfg(feature = "mdns")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use micro_discover::{Endpoint, Error, Method, Registry, Service, open};

const TTL: Duration = Duration::from_secs(60);

/// A network of its own: tests run at the same time.
struct Network {
    port: u16,
}

impl Network {
    fn new() -> Self {
        Self { port: UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port() }
    }

    fn join(&self) -> Arc<dyn Registry> {
        open(&format!("mdns://?interface=lo&port={}", self.port)).unwrap()
    }

    fn join_in(&self, domain: &str) -> Arc<dyn Registry> {
        open(&format!("mdns:?interface=127.0.0.1&port={}&domain={domain}", self.port)).unwrap()
    }

    /// Sends a packet to everyone, from a port where answers arrive.
    fn send(&self, packet: &[u8]) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.send_to(packet, (Ipv4Addr::new(224, 0, 0, 251), self.port)).unwrap();
        socket
    }
}

fn greeter(id: &str) -> Service {
    Service::new("greeter").endpoint(Endpoint::new(id, "127.0.0.1:8080".parse().unwrap()))
}

type Sets = futures_core::stream::BoxStream<'static, Result<Vec<Service>, Error>>;

async fn reaches(sets: &mut Sets, wanted: &[Service]) {
    let reached = async { while sets.next().await.unwrap().unwrap() != wanted {} };
    tokio::time::timeout(Duration::from_secs(60), reached).await.expect("in time");
}

#[tokio::test]
async fn what_one_announces_another_finds_lists_watches_and_misses() {
    let network = Network::new();
    let (ours, theirs) = (network.join(), network.join());
    let mut sets = theirs.watch("greeter");
    reaches(&mut sets, &[]).await;

    let record = greeter("a").version("1.0").metadata("owner", "us").method(Method::new("Greeter.Hello"));
    ours.announce(&record, TTL).await.unwrap();
    reaches(&mut sets, std::slice::from_ref(&record)).await;
    assert_eq!(theirs.get("greeter").await.unwrap(), std::slice::from_ref(&record));
    assert_eq!(theirs.list().await.unwrap(), std::slice::from_ref(&record));

    ours.withdraw(&record).await.unwrap();
    reaches(&mut sets, &[]).await;
    assert_eq!(theirs.list().await.unwrap(), []);
}

/// go-micro's defect R13: a node it knows never gets other labels.
#[tokio::test]
async fn r13_changed_labels_of_a_known_endpoint_arrive() {
    let network = Network::new();
    let (ours, theirs) = (network.join(), network.join());
    let mut sets = theirs.watch("greeter");
    for label in ["blue", "green"] {
        let endpoint = Endpoint::new("a", "127.0.0.1:1".parse().unwrap()).metadata("colour", label);
        let record = Service::new("greeter").endpoint(endpoint);
        ours.announce(&record, TTL).await.unwrap();
        reaches(&mut sets, std::slice::from_ref(&record)).await;
        assert_eq!(theirs.get("greeter").await.unwrap(), [record]);
    }
}

#[tokio::test]
async fn all_owners_answer_and_one_that_is_gone_is_missed_after_its_ttl() {
    let network = Network::new();
    let (one, two, asker) = (network.join(), network.join(), network.join());
    one.announce(&greeter("a"), Duration::from_secs(3)).await.unwrap();
    two.announce(&greeter("b"), TTL).await.unwrap();
    let both = greeter("a").endpoint(greeter("b").endpoints[0].clone());
    let mut sets = asker.watch("greeter");
    reaches(&mut sets, &[both]).await;
    // As if its process were killed: it says no good-bye.
    drop(one);
    reaches(&mut sets, &[greeter("b")]).await;
}

#[tokio::test]
async fn an_endpoint_that_moves_to_another_owner_is_answered_for_by_that_one_alone() {
    let network = Network::new();
    let (old, new, asker) = (network.join(), network.join(), network.join());
    old.announce(&greeter("a").version("1"), TTL).await.unwrap();
    new.announce(&greeter("a").version("2"), TTL).await.unwrap();
    let mut sets = asker.watch("greeter");
    reaches(&mut sets, &[greeter("a").version("2")]).await;
    assert_eq!(old.get("greeter").await.unwrap(), [greeter("a").version("2")]);
}

#[tokio::test]
async fn services_of_both_domains_of_go_micro_are_found_and_of_others_not() {
    let network = Network::new();
    let (local, shop, asker) = (network.join_in("local"), network.join_in("shop"), network.join());
    local.announce(&greeter("local"), TTL).await.unwrap();
    shop.announce(&greeter("shop"), TTL).await.unwrap();
    reaches(&mut asker.watch("greeter"), &[greeter("local")]).await;
    reaches(&mut shop.watch("greeter"), &[greeter("shop")]).await;
}

#[tokio::test]
async fn hosts_and_sockets_without_an_address_are_found_by_us() {
    let network = Network::new();
    let (ours, theirs) = (network.join(), network.join());
    let addresses = ["localhost:80", "no-such-host.invalid:80", "unix:/run/a.sock", "https://[::1]:443"];
    let endpoints =
        addresses.map(|address| Endpoint::new(format!("at-{}", address.len()), address.parse().unwrap()));
    let mut record = endpoints.into_iter().fold(Service::new("greeter"), Service::endpoint);
    record.endpoints.sort_by(|a, b| a.id.cmp(&b.id));
    ours.announce(&record, TTL).await.unwrap();
    reaches(&mut theirs.watch("greeter"), &[record]).await;
}

#[tokio::test]
async fn five_hundred_endpoints_of_another_owner_arrive() {
    let network = Network::new();
    let (ours, theirs) = (network.join(), network.join());
    let endpoint = |n| Endpoint::new(format!("e{n:04}"), "127.0.0.1:80".parse().unwrap());
    let record = (0..500).map(endpoint).fold(Service::new("greeter"), Service::endpoint);
    ours.announce(&record, TTL).await.unwrap();
    reaches(&mut theirs.watch("greeter"), &[record]).await;
}

#[tokio::test]
async fn a_record_no_packet_can_carry_is_refused() {
    let mut random = fastrand::Rng::with_seed(7);
    let label: String = std::iter::repeat_with(|| random.alphanumeric()).take(100_000).collect();
    let error = Network::new().join().announce(&greeter("a").metadata("k", label), TTL).await.unwrap_err();
    assert!(!error.is_retryable() && error.to_string().contains("endpoint \"a\""), "{error}");
}

/// The question as go-micro asks it: from a port of its own, for `greeter.micro.`, PTR.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_is_passed_over_and_a_neighbour_s_question_is_answered_to_itself() {
    let network = Network::new();
    let registry = network.join();
    registry.announce(&greeter("a"), TTL).await.unwrap();
    for junk in [&b""[..], b"\0", &[0xff; 9_000], b"\0\0\0\0\xff\xff\0\0\0\0\0\0\xc0\x0c\0\x0c\0\x01"] {
        network.send(junk);
    }
    let question = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x07greeter\x05micro\0\0\x0c\0\x01";
    let asker = network.send(question);
    let answer = tokio::task::spawn_blocking(move || {
        let mut buffer = [0; 9_000];
        let length = asker.recv(&mut buffer).unwrap();
        buffer[..length].to_vec()
    });
    let answer = answer.await.unwrap();
    assert_eq!(answer[..4], [0x12, 0x34, 0x84, 0], "the asker's number, an authoritative answer");
    for part in [&b"\x07greeter\x05micro\0"[..], b"\x01a", &[127, 0, 0, 1], &8080_u16.to_be_bytes()] {
        assert!(answer.windows(part.len()).any(|window| window == part), "{part:?}");
    }
    assert_eq!(registry.get("greeter").await.unwrap(), [greeter("a")]);
}

/// RFC 6762, section 7.1: whoever asks says what it knows, and is not told that again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_asker_says_that_it_knows_is_not_told_again_unless_it_will_soon_be_forgotten() {
    let network = Network::new();
    let registry = network.join();
    registry.announce(&greeter("a"), TTL).await.unwrap();
    registry.announce(&greeter("b"), TTL).await.unwrap();
    for (ttl, told_of_a) in [(120, false), (10, true)] {
        let question = b"\x12\x34\0\0\0\x01\0\x01\0\0\0\0\x07greeter\x05micro\0\0\x0c\0\x01";
        let known = [&b"\xc0\x0c\0\x0c\0\x01\0\0\0"[..], &[ttl], b"\0\x04\x01a\xc0\x0c"].concat();
        let asker = network.send(&[&question[..], &known].concat());
        let answers = tokio::task::spawn_blocking(move || {
            let mut answers = Vec::new();
            // They come in the order of their leases: after that of b there is no more.
            let of_b = |answer: &Vec<u8>| answer.windows(2).any(|part| part == b"\x01b");
            while !answers.iter().any(of_b) {
                let mut buffer = [0; 9_000];
                let length = asker.recv(&mut buffer).unwrap();
                answers.push(buffer[..length].to_vec());
            }
            answers
        });
        let told = answers.await.unwrap().len();
        assert_eq!(told, if told_of_a { 2 } else { 1 }, "known for {ttl} s");
    }
}

#[tokio::test]
async fn an_interface_that_is_not_there_is_an_error_that_may_pass() {
    let registry = open("mdns://?interface=nowhere0").unwrap();
    assert!(registry.announce(&greeter("a"), TTL).await.unwrap_err().is_retryable());
    assert!(registry.get("greeter").await.unwrap_err().is_retryable());
    assert!(matches!(registry.watch("greeter").next().await, Some(Err(error)) if error.is_retryable()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_services_of_one_owner_are_all_listed() {
    let network = Network::new();
    let (ours, theirs) = (network.join(), network.join());
    let mut all = Vec::new();
    for n in 0..1_000 {
        let endpoint = Endpoint::new(format!("s{n:04}-1"), "127.0.0.1:80".parse().unwrap());
        all.push(Service::new(format!("s{n:04}")).metadata("owner", "us").endpoint(endpoint));
        ours.announce(&all[n], TTL).await.unwrap();
    }
    // A list ends after three seconds, and this machine may be busy with other things.
    let mut found = theirs.list().await.unwrap();
    for _ in 0..4 {
        if found != all {
            found = theirs.list().await.unwrap();
        }
    }
    assert_eq!(found.len(), all.len());
    assert_eq!(found, all);
}
