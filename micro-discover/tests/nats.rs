//! What must survive when NATS and those who answer over it fail: on a real server, beside what go-micro says.
#![cfg(feature = "nats")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use micro_discover::{Announce, Endpoint, Registry, Service, open};

use crate::seen::Seen;
use crate::servers::gateway::Proxy;
use crate::servers::nats::Nats;

#[path = "support/seen.rs"]
mod seen;
mod servers;

const TTL: Duration = Duration::from_secs(3);

fn greeter(id: &str) -> Service {
    Service::new("greeter").endpoint(Endpoint::new(id, "127.0.0.1:80".parse().unwrap()))
}

/// Both kinds of registry on a server, each opened twice: as by two processes.
fn pairs(server: &Nats) -> [[Arc<dyn Registry>; 2]; 2] {
    [server.url(), server.bucket_url()].map(|url| [open(&url).unwrap(), open(&url).unwrap()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_finds_what_another_announces_until_it_stops_renewing_or_withdraws() {
    let Some(server) = Nats::start() else { return };
    for url in [server.url(), server.bucket_url()] {
        let (here, there) = (open(&url).unwrap(), open(&url).unwrap());
        let seen = Seen::by(&there);
        seen.until(&[]).await;
        let polite = Announce::new(here.clone(), greeter("polite")).ttl(TTL).start().await.unwrap();
        seen.until(&["polite"]).await;
        assert_eq!(there.get("greeter").await.unwrap(), [greeter("polite")]);
        assert_eq!(there.list().await.unwrap(), [greeter("polite")]);
        let crashing = open(&url).unwrap();
        crashing.announce(&greeter("crashed"), TTL).await.unwrap();
        seen.until(&["crashed", "polite"]).await;
        drop(crashing);
        let took = seen.until(&["polite"]).await;
        assert!(took <= TTL + Duration::from_secs(3), "{took:?}");
        polite.withdraw().await.unwrap();
        seen.until(&[]).await;
        assert_eq!(there.get("greeter").await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_hides_nothing_and_is_told_again() {
    let Some(mut server) = Nats::start() else { return };
    let watched = pairs(&server).map(|[here, there]| (Seen::by(&there), here, there));
    let mut announced = Vec::new();
    for (seen, here, _) in &watched {
        for id in ["a", "b"] {
            announced.push(Announce::new(here.clone(), greeter(id)).ttl(TTL).start().await.unwrap());
        }
        seen.until(&["a", "b"]).await;
    }
    server.server.kill();
    tokio::time::sleep(2 * TTL).await;
    for (seen, _, there) in &watched {
        assert!(seen.status.stale_since().is_some() && seen.status.last_error().is_some());
        assert!(there.get("greeter").await.unwrap_err().is_retryable());
    }
    server.server.restart_dead();
    server.wait();
    for (seen, here, _) in &watched {
        let late = Announce::new(here.clone(), greeter("late")).ttl(TTL).start().await.unwrap();
        seen.until(&["a", "b", "late"]).await;
        announced.push(late);
    }
    tokio::time::sleep(2 * TTL).await;
    for (seen, _, there) in &watched {
        assert_eq!(seen.last().unwrap(), ["a", "b", "late"]);
        assert!(!seen.flapped(), "{:?}", seen.sets.lock().unwrap());
        assert_eq!(there.get("greeter").await.unwrap()[0].endpoints.len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_for_longer_than_the_ttl_hides_nothing() {
    let Some(server) = Nats::start() else { return };
    let watched = pairs(&server).map(|[here, there]| (Seen::by(&there), here));
    let mut announced = Vec::new();
    for (seen, here) in &watched {
        for id in ["a", "b"] {
            announced.push(Announce::new(here.clone(), greeter(id)).ttl(TTL).start().await.unwrap());
        }
        seen.until(&["a", "b"]).await;
    }
    server.server.freeze();
    tokio::time::sleep(TTL).await;
    for (seen, _) in &watched {
        seen.until_error("").await;
        assert!(seen.last().unwrap() == ["a", "b"], "silence is told from absence");
    }
    server.server.thaw();
    for (seen, here) in &watched {
        announced.push(Announce::new(here.clone(), greeter("late")).ttl(TTL).start().await.unwrap());
        seen.until(&["a", "b", "late"]).await;
    }
    tokio::time::sleep(2 * TTL).await;
    for (seen, _) in &watched {
        assert!(
            !seen.flapped() && seen.last().unwrap() == ["a", "b", "late"],
            "{:?}",
            seen.sets.lock().unwrap()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_keeps_the_set_and_what_changed_meanwhile_is_seen_after_it() {
    let Some(server) = Nats::start() else { return };
    for scheme in ["nats", "nats+kv"] {
        let proxy = Proxy::before(server.port).await;
        let direct = open(&format!("{scheme}://127.0.0.1:{}", server.port)).unwrap();
        let seen = Seen::by(&open(&format!("{scheme}://127.0.0.1:{}", proxy.port)).unwrap());
        let going = Announce::new(direct.clone(), greeter("going")).ttl(TTL).start().await.unwrap();
        let staying = Announce::new(direct.clone(), greeter("staying")).ttl(TTL).start().await.unwrap();
        seen.until(&["going", "staying"]).await;
        proxy.cut();
        going.withdraw().await.unwrap();
        let new = Announce::new(direct, greeter("new")).ttl(TTL).start().await.unwrap();
        tokio::time::sleep(2 * TTL).await;
        assert_eq!(seen.last().unwrap(), ["going", "staying"]);
        proxy.mend();
        println!("{scheme}: true again {:?} after the cut", seen.until(&["new", "staying"]).await);
        assert!(!seen.missed("staying"));
        staying.withdraw().await.unwrap();
        new.withdraw().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_login_is_an_error_that_is_seen() {
    let Some(server) = Nats::with(&["--user", "me", "--pass", "s3cret"]) else { return };
    for scheme in ["nats", "nats+kv"] {
        let good = open(&format!("{scheme}://me:s3cret@127.0.0.1:{}", server.port)).unwrap();
        good.announce(&greeter("a"), Duration::ZERO).await.unwrap();
        assert_eq!(good.get("greeter").await.unwrap(), [greeter("a")]);
        for login in ["me:wrong@", ""] {
            let refused = open(&format!("{scheme}://{login}127.0.0.1:{}", server.port)).unwrap();
            let error = refused.get("greeter").await.unwrap_err();
            assert!(error.is_retryable() && !format!("{error:?}").contains("wrong"), "{error:?}");
            let shut_out = Seen::by(&refused);
            while shut_out.status.last_error().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(!shut_out.status.resolved(), "refused is not empty");
        }
    }
}

/// What has long been over is removed by whoever reads it, and may.
mod litter {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const SETTINGS: &str = r#"authorization { users: [
        { user: writer, password: "s3cret" },
        { user: reader, password: "s3cret", permissions: { publish: { allow: [
            "$JS.API.STREAM.INFO.>", "$JS.API.CONSUMER.>", "$JS.FC.>", "$JS.ACK.>", "_INBOX.>" ] } } } ] }
"#;

    /// The port of a server for which it is ten years later when it makes a consumer.
    async fn ten_years_later(server: u16) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (mut asks, mut hears) = near.into_split();
                let (mut answers, mut takes) =
                    TcpStream::connect(("127.0.0.1", server)).await.unwrap().into_split();
                tokio::spawn(async move { tokio::io::copy(&mut asks, &mut takes).await });
                tokio::spawn(async move {
                    let mut bytes = vec![0; 1 << 16];
                    while let Ok(length @ 1..) = answers.read(&mut bytes).await {
                        let text = bytes[..length].to_vec();
                        hears.write_all(&later(text)).await.unwrap();
                    }
                });
            }
        });
        port
    }

    /// An answer is short enough to come at once.
    fn later(mut text: Vec<u8>) -> Vec<u8> {
        const CREATED: &[u8] = br#""created":"20"#;
        let is_of_consumer = text.windows(19).any(|part| part == b"consumer_create_res");
        let found = text.windows(CREATED.len()).position(|part| part == CREATED);
        if let (true, Some(at)) = (is_of_consumer, found) {
            text[at + CREATED.len()] += 1;
        }
        text
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_may_only_read_a_bucket_does_not_wait_for_what_he_may_not_remove() {
        let Some(server) = Nats::with_settings(SETTINGS) else { return };
        let port = ten_years_later(server.port).await;
        let [writer, later_writer, later_reader] =
            [("writer", server.port), ("writer", port), ("reader", port)]
                .map(|(user, port)| open(&format!("nats+kv://{user}:s3cret@127.0.0.1:{port}")).unwrap());
        for n in 0..10 {
            writer.announce(&greeter(&format!("over-{n}")), TTL).await.unwrap();
        }
        writer.announce(&greeter("stays"), Duration::ZERO).await.unwrap();
        let entries = || async {
            let client = async_nats::ConnectOptions::with_user_and_password("writer".into(), "s3cret".into())
                .connect(server.url())
                .await
                .unwrap();
            let stream = async_nats::jetstream::new(client).get_stream("KV_micro-registry").await.unwrap();
            stream.cached_info().state.messages
        };
        assert_eq!(entries().await, 11);
        // A refusal takes two seconds, for the server says nothing.
        let seen = Seen::by(&later_reader);
        let took = seen.until(&["stays"]).await;
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert_eq!(later_reader.get("greeter").await.unwrap(), [greeter("stays")]);
        assert_eq!(entries().await, 11);
        assert_eq!(later_writer.get("greeter").await.unwrap(), [greeter("stays")]);
        while entries().await > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_ask_is_told_so_and_who_may_ask_under_one_prefix_is_answered() {
    let may = |subjects: &str| format!(r#"{{ publish: {{ allow: ["_INBOX.>", {subjects}] }} }}"#);
    let settings = format!(
        "authorization {{ users: [ {{ user: full, password: pw }}, {{ user: mute, password: pw, permissions: {} }}, \
         {{ user: half, password: pw, permissions: {} }} ] }}\n",
        may(r#""other""#),
        may(r#""micro.nats.>""#),
    );
    let Some(server) = Nats::with_settings(&settings) else { return };
    let by = |user: &str| open(&format!("nats://{user}:pw@127.0.0.1:{}", server.port)).unwrap();
    let (full, mute, half) = (by("full"), by("mute"), by("half"));
    full.announce(&greeter("a"), Duration::ZERO).await.unwrap();
    assert_eq!(half.get("greeter").await.unwrap(), [greeter("a")]);
    let error = mute.get("greeter").await.unwrap_err();
    assert!(format!("{error:?}").contains("Permissions Violation"), "{error:?}");
    let seen = Seen::by(&mute);
    seen.until_error("the server refused: Permissions Violation for Publish to \"micro.nats.query\"").await;
    assert!(!seen.status.resolved(), "refused is not empty");
    // The same on a connection that has been refused something before.
    mute.list().await.unwrap_err();
}

/// A member in go-micro's words, as recorded from v6: no TTL, no owner, an inbox for an address.
mod neighbour {
    use super::*;

    const RECORD: &str = r#"{"name":"greeter","version":"1.0.0","metadata":null,"endpoints":[{"request":{"name":"Req","type":"Req","values":[{"name":"name","type":"string","values":null}]},"response":{"name":"Rsp","type":"Rsp","values":null},"metadata":{},"name":"Greeter.Hello"}],"nodes":[{"metadata":{"broker":"nats","protocol":"mucp","registry":"nats","server":"mucp","transport":"nats"},"id":"greeter-ID1","address":"_INBOX.Jf3onzDglHMTWBsnPCv4oM"}]}"#;
    /// As go-micro says goodbye: with nodes only.
    const GONE: &str = r#"{"Service":{"name":"greeter","version":"1.0.0","metadata":null,"endpoints":null,"nodes":[{"metadata":null,"id":"greeter-ID1","address":"_INBOX.Jf3onzDglHMTWBsnPCv4oM"}]},"Action":"delete"}"#;

    /// Waits until the server knows what is subscribed to: what another connection sends may overtake what is only flushed.
    async fn heard(peer: &async_nats::Client) {
        peer.request("nobody", "".into()).await.unwrap_err();
    }

    async fn next(subscriber: &mut async_nats::Subscriber) -> serde_json::Value {
        let message = tokio::time::timeout(Duration::from_secs(30), subscriber.next()).await;
        serde_json::from_slice(&message.unwrap().unwrap().payload).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn go_micro_is_found_by_either_pair_of_subjects_and_finds_us() {
        let Some(server) = Nats::start() else { return };
        for prefix in ["micro.nats", "micro.registry.nats"] {
            let peer = async_nats::connect(server.url()).await.unwrap();
            let mut questions = peer.subscribe(format!("{prefix}.query")).await.unwrap();
            heard(&peer).await;
            let answering = peer.clone();
            let task = tokio::spawn(async move {
                while let Some(question) = questions.next().await {
                    let asked: serde_json::Value = serde_json::from_slice(&question.payload).unwrap();
                    assert!(asked["Action"] == "list" || asked["Service"]["name"] == "greeter", "{asked}");
                    answering.publish(question.reply.unwrap(), RECORD.into()).await.unwrap();
                }
            });
            let registry = open(&format!("{}?prefix={prefix}", server.url())).unwrap();
            let seen = Seen::by(&registry);
            seen.until(&["greeter-ID1"]).await;
            let found = registry.get("greeter").await.unwrap();
            assert_eq!(found[0].endpoints[0].address.to_string(), "nats://_INBOX.Jf3onzDglHMTWBsnPCv4oM");
            assert_eq!(
                (found[0].version.as_str(), found[0].methods[0].name.as_str()),
                ("1.0.0", "Greeter.Hello")
            );
            assert_eq!(registry.list().await.unwrap(), found);

            // The other way round: told of us on the same pair, and answered when it asks.
            let mut told = peer.subscribe(format!("{prefix}.watch")).await.unwrap();
            heard(&peer).await;
            registry.announce(&greeter("ours"), TTL).await.unwrap();
            let change = next(&mut told).await;
            assert_eq!(
                (&change["Action"], &change["Service"]["nodes"][0]["address"]),
                (&"create".into(), &"127.0.0.1:80".into())
            );
            task.abort();
            let inbox = peer.new_inbox();
            let mut answers = peer.subscribe(inbox.clone()).await.unwrap();
            let question = r#"{"Service":{"name":"greeter","version":"","metadata":null,"endpoints":null,"nodes":null},"Action":"get"}"#;
            peer.publish_with_reply(format!("{prefix}.query"), inbox, question.into()).await.unwrap();
            let answer = next(&mut answers).await;
            assert_eq!((&answer["name"], &answer["nodes"][0]["id"]), (&"greeter".into(), &"ours".into()));

            peer.publish(format!("{prefix}.watch"), GONE.into()).await.unwrap();
            seen.until(&["ours"]).await;
            registry.withdraw(&greeter("ours")).await.unwrap();
            seen.until(&[]).await;
        }
    }
}

/// Whoever speaks the protocol can publish headers that async-nats does not read, but gives up its connection over.
mod unreadable {
    use std::io::{BufRead, BufReader, Write};
    use std::time::Instant;

    use super::*;

    /// At the second one it panics.
    const HEADS: [&[u8]; 2] = [b"NATS/1.0\r\nname: J\xfcrgen\r\n\r\n", b"NATS/1.0\r\nname: a\rb\r\n\r\n"];

    fn publish_raw(port: u16, subject: &[u8], head: &[u8]) {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let length = head.len();
        let rest = format!(" {length} {length}\r\n");
        let connect = b"CONNECT {\"headers\":true,\"verbose\":false}\r\nHPUB ";
        stream.write_all(&[connect, subject, rest.as_bytes(), head, b"\r\nPING\r\n"].concat()).unwrap();
        let mut lines = BufReader::new(stream).lines();
        assert!(lines.any(|line| line.unwrap() == "PONG"));
    }

    /// Waits until everybody is found, by a process that has just started as well.
    async fn until_found(url: &str, old: &Arc<dyn Registry>, wanted: usize) {
        let begun = Instant::now();
        for registry in [old, &open(url).unwrap()] {
            let all =
                |found: Vec<Service>| found.first().map_or(0, |service| service.endpoints.len()) == wanted;
            while !(registry.get("greeter").await.is_ok_and(all) && registry.list().await.is_ok_and(all)) {
                assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", registry.get("greeter").await);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Whoever puts it on one of `subjects`, or at last in the place of what is announced.
    async fn survives(server: &Nats, url: &str, subjects: &[&[u8]], place: Option<&[u8]>) {
        let (here, there) = (open(url).unwrap(), open(url).unwrap());
        let seen = Seen::by(&there);
        // Renewed every 10 s only.
        let stays = Announce::new(here.clone(), greeter("stays")).ttl(Duration::ZERO).start().await.unwrap();
        seen.until(&["stays"]).await;
        for (head, subject) in
            HEADS.iter().flat_map(|head| subjects.iter().map(move |subject| (head, subject)))
        {
            let what = format!("{} {}", subject.escape_ascii(), head.escape_ascii());
            publish_raw(server.port, subject, head);
            until_found(url, &there, 1).await;
            let late = Announce::new(here.clone(), greeter("late")).ttl(TTL).start().await.unwrap();
            let came = seen.until(&["late", "stays"]).await;
            until_found(url, &there, 2).await;
            late.withdraw().await.unwrap();
            let went = seen.until(&["stays"]).await;
            println!("{what}: came after {came:?}, went after {went:?}");
            assert!(!seen.missed("stays"), "{what}");
        }
        if let Some(place) = place {
            publish_raw(server.port, place, HEADS[1]);
        }
        stays.withdraw().await.unwrap();
        seen.until(&[]).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_cannot_be_read_on_the_subjects_of_the_registry_hides_nothing() {
        let Some(server) = Nats::start() else { return };
        let subjects: [&[u8]; 4] = [
            b"micro.nats.watch",
            b"micro.nats.query",
            b"micro.registry.nats.watch",
            b"micro.registry.nats.query",
        ];
        survives(&server, &server.url(), &subjects, None).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_cannot_be_read_in_the_bucket_hides_nothing() {
        let Some(server) = Nats::start() else { return };
        let subjects: [&[u8]; 3] = [
            b"$KV.micro-registry.greeter.junk",
            b"$KV.micro-registry.greeter.late",
            b"$KV.micro-registry.greeter.\xff",
        ];
        survives(&server, &server.bucket_url(), &subjects, Some(b"$KV.micro-registry.greeter.stays")).await;
    }
}
