//! The promises of [`Http`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use micro_broker::{Backoff, Broker, Envelope, Error, Event, Http, Publisher, Subscribe};
use micro_discover::{Endpoint, Registry, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::suite::{self, Backend, PATIENCE};

struct Posted;

impl Backend for Posted {
    type Server = String;

    async fn start() -> Option<String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Some(format!("http:?registry=memory:contract-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    fn open(server: &String) -> Arc<dyn Broker> {
        micro_broker::open(server).unwrap()
    }

    /// A publisher keeps what it has for a group it knows; one that never saw the group keeps nothing.
    const KEEPS: bool = false;
}

suite::promises!(super::Posted);

fn registry() -> Arc<dyn Registry> {
    Arc::new(micro_discover::Memory::new())
}

fn quick(topic: &str) -> Subscribe {
    Subscribe::to(topic)
        .group("g")
        .backoff(Backoff::new(Duration::from_millis(20), Duration::from_millis(50)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_left_without_a_word_is_not_waited_for_and_takes_nothing_from_others() {
    let registry = registry();
    let left = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (id, version) in [("t-1", "ff.http.broadcast"), ("t-2", "g")] {
        let endpoint = Endpoint::new(id, left.try_into().unwrap()).metadata("topic", "t");
        let record = Service::new("micro.http.broker").version(version);
        let record = record.endpoint(endpoint.metadata("broker", "http"));
        registry.announce(&record, Duration::from_secs(600)).await.unwrap();
    }
    let publisher = Http::new(registry.clone());
    let began = std::time::Instant::now();
    publisher.publish(Event::new("t", "nobody hears it"), PATIENCE).await.unwrap();
    publisher.close().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

    let subscriber = Http::new(registry.clone());
    let mut member = subscriber.subscribe(quick("t")).await.unwrap();
    let publisher = Http::new(registry);
    for i in 0..20 {
        publisher.publish(Event::new("t", i.to_string()), PATIENCE).await.unwrap();
    }
    let closing = tokio::spawn(async move { publisher.close().await });
    for _ in 0..20 {
        tokio::time::timeout(PATIENCE, member.next()).await.unwrap().unwrap().ack().await.unwrap();
    }
    tokio::time::timeout(Duration::from_secs(2), closing).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_has_closed_is_announced_no_more() {
    let registry = registry();
    let (left, stays) = (Http::new(registry.clone()), Http::new(registry.clone()));
    drop(left.subscribe(quick("t")).await.unwrap());
    let _subscription = stays.subscribe(quick("t")).await.unwrap();
    left.close().await;
    let records = registry.list().await.unwrap();
    assert_eq!(records.iter().map(|record| record.endpoints.len()).sum::<usize>(), 1, "{records:?}");
    stays.close().await;
    let records = registry.list().await.unwrap();
    assert!(records.iter().all(|record| record.endpoints.is_empty()), "{records:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_group_gets_what_was_published_while_it_had_no_member() {
    let registry = registry();
    let subscriber = Http::new(registry.clone());
    let publisher = Publisher::new(Arc::new(Http::new(registry.clone())));
    let mut first = subscriber.subscribe(quick("t").in_flight(1)).await.unwrap();
    for i in 0..3 {
        publisher.publish(Event::new("t", i.to_string())).await.unwrap();
    }
    tokio::time::timeout(PATIENCE, first.next()).await.unwrap().unwrap().ack().await.unwrap();
    // The whole process of the subscriber goes; the publisher holds the other two.
    drop(first);
    subscriber.close().await;
    publisher.publish(Event::new("t", "3")).await.unwrap();
    let mut second = Http::new(registry).subscribe(quick("t").in_flight(1)).await.unwrap();
    let mut got = Vec::new();
    while got.len() < 3 {
        let delivery = tokio::time::timeout(PATIENCE, second.next()).await.unwrap().unwrap();
        got.push(delivery.event().body.clone());
        delivery.ack().await.unwrap();
    }
    got.sort();
    assert_eq!(got, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_full_outbox_is_an_honest_error() {
    let registry = registry();
    // A subscriber that was announced and is not there.
    let nobody = Endpoint::new("gone", "127.0.0.1:9".parse().unwrap()).metadata("topic", "t");
    let record = Service::new("micro.http.broker").version("g").endpoint(nobody);
    registry.announce(&record, Duration::from_secs(600)).await.unwrap();
    let publisher = Publisher::new(Arc::new(Http::new(registry)));
    let mut published = 0;
    let refused = loop {
        match publisher.publish(Event::new("t", "x")).await {
            Ok(()) => published += 1,
            Err(error) => break error,
        }
        assert!(published <= 10_000);
    };
    assert!(matches!(&refused, Error::Full { queue, .. } if queue.contains(r#"group "g""#)), "{refused}");
    assert_eq!(published, 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_faster_publisher_does_not_fill_its_consumer() {
    fast(Duration::from_secs(6)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute"]
async fn a_publisher_that_is_faster_for_a_minute_does_not_fill_its_consumer() {
    fast(Duration::from_secs(60)).await;
}

async fn fast(length: Duration) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("http:?registry=file:{}", directory.path().display());
    crate::faults::a_faster_publisher_does_not_fill_its_consumer(&url, length).await;
}

/// R16 of go-micro: subscribers have the same id, and nobody looks at the status of an answer.
#[tokio::test]
async fn what_no_subscriber_can_take_is_refused_as_go_micro_refuses_it() {
    let registry = registry();
    let broker = Http::new(registry.clone());
    let mut subscription = broker.subscribe(quick("topic.greet")).await.unwrap();
    let records = registry.get("micro.http.broker").await.unwrap();
    let endpoint = &records[0].endpoints[0];
    assert_eq!(records[0].version, "g");
    assert_eq!(endpoint.metadata["topic"], "topic.greet");
    let ask = async |request: String| {
        let mut stream = TcpStream::connect(endpoint.address.authority()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let post = |path: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let id = &endpoint.id;
    let got = ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_owned()).await;
    assert!(got.starts_with("HTTP/1.1 405 "), "{got}");
    assert!(ask(post("/?id=unknown", "{}")).await.starts_with("HTTP/1.1 404 "));
    let got = ask(post(&format!("/?id={id}"), "not JSON")).await;
    assert!(got.starts_with("HTTP/1.1 500 ") && got.contains(r#""id":"go.micro.broker""#), "{got}");
    assert!(ask(post(&format!("/?id={id}"), r#"{"Header":{}}"#)).await.contains("Topic not found"));

    // Both captured posts are events.
    for (path, body, request_id) in [
        (
            "/_sub",
            r#"{"Header":{":topic":"topic.greet","X-Request-Id":"abc"},"Body":"eyJuYW1lIjoiZXZlbnQifQ=="}"#,
            "abc",
        ),
        (
            "/",
            r#"{"Header":{"Micro-Topic":"topic.greet","X-Request-Id":"abd"},"Body":"eyJuYW1lIjoiZXZlbnQifQ=="}"#,
            "abd",
        ),
    ] {
        let handle = async {
            let delivery = subscription.next().await.unwrap();
            let event = delivery.event().clone();
            delivery.ack().await.unwrap();
            event
        };
        let (answer, event) = tokio::join!(ask(post(&format!("{path}?id={id}"), body)), handle);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!((&*event.topic, &event.body[..]), ("topic.greet", &br#"{"name":"event"}"#[..]));
        assert_eq!(event.headers[micro_broker::REQUEST_ID], request_id);
    }
}

/// What a go-micro subscriber of either age is sent, to the byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_go_micro_subscriber_gets_its_own_envelope() {
    for (service, metadata, path, body) in [
        (
            "topic:topic.greet",
            BTreeMap::from([("secure", "false")]),
            "/_sub",
            r#"{"Header":{":topic":"topic.greet","X-Request-Id":"abc"},"Body":"eyJuYW1lIjoiZXZlbnQifQ=="}"#,
        ),
        (
            "micro.http.broker",
            BTreeMap::from([("broker", "http"), ("secure", "false"), ("topic", "topic.greet")]),
            "/",
            r#"{"Header":{"Micro-ID":"i1","Micro-Topic":"topic.greet","X-Request-Id":"abc"},"Body":"eyJuYW1lIjoiZXZlbnQifQ=="}"#,
        ),
    ] {
        let registry = registry();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut endpoint = Endpoint::new("node-1", listener.local_addr().unwrap().try_into().unwrap());
        for (key, value) in metadata {
            endpoint = endpoint.metadata(key, value);
        }
        let record = Service::new(service).version("q1").endpoint(endpoint);
        registry.announce(&record, Duration::from_secs(600)).await.unwrap();
        let publisher = Publisher::new(Arc::new(Http::new(registry)));
        let event = Event::new("topic.greet", r#"{"name":"event"}"#).id("i1");
        publisher.publish(event.header(micro_broker::REQUEST_ID, "abc".parse().unwrap())).await.unwrap();
        let (mut stream, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        let mut request = String::new();
        while !request.ends_with(body) {
            let mut chunk = [0; 4096];
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut chunk)).await.unwrap().unwrap();
            assert!(read > 0, "{request}");
            request += std::str::from_utf8(&chunk[..read]).unwrap();
        }
        assert!(request.starts_with(&format!("POST {path}?id=node-1 HTTP/1.1\r\n")), "{request}");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_of_every_envelope_reach_each_other() {
    for envelope in [Envelope::Native, Envelope::GoMicro, Envelope::GoMicroV0] {
        let registry = registry();
        let subscriber = Http::new(registry.clone()).envelope(envelope);
        let mut events = subscriber.subscribe(quick("a.b")).await.unwrap();
        let publisher = Publisher::new(Arc::new(Http::new(registry)));
        publisher
            .publish(Event::new("a.b", "x").header("x-a".parse().unwrap(), "1".parse().unwrap()))
            .await
            .unwrap();
        let delivery = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap();
        assert_eq!(
            (&delivery.event().body[..], &delivery.event().headers["x-a"]),
            (&b"x"[..], &"1".parse().unwrap())
        );
        delivery.ack().await.unwrap();
    }
}

#[tokio::test]
async fn a_publisher_that_falls_silent_within_an_event_is_cut_off() {
    let registry = registry();
    let broker = Http::new(registry.clone());
    let _subscription = broker.subscribe(quick("t")).await.unwrap();
    let records = registry.get("micro.http.broker").await.unwrap();
    let endpoint = &records[0].endpoints[0];
    let mut stream = TcpStream::connect(endpoint.address.authority()).await.unwrap();
    let begun = format!("POST /?id={} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{{", endpoint.id);
    stream.write_all(begun.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_string(&mut answer)).await;
    assert!(ended.is_ok(), "after a minute it is still waited for");
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
}
