//! What must survive when servers, connections and consumers fail.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use micro_broker::{Backoff, Broker, Error, Event, Health, Publisher, Subscribe, deliver};
use tower::{BoxError, service_fn};

use crate::process::Subscriber;
use crate::proxy::Proxy;
use crate::server::{Server, free_port, signal};
use crate::suite::PATIENCE;

type Handled = Arc<Mutex<BTreeMap<String, u32>>>;

/// Events before and after a fault, each long enough to be in the middle of something.
const EVENTS: usize = 1_000;

fn subscribe(topic: &str) -> Subscribe {
    let backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(200));
    Subscribe::to(topic).group("workers").ack_wait(Duration::from_secs(2)).backoff(backoff).attempts(1000)
}

/// Publishes until the broker has the event, and only then says so.
async fn publish(publisher: &Publisher, topic: &str, id: &str) {
    let start = Instant::now();
    loop {
        match publisher.publish(Event::new(topic, id.to_owned()).id(id)).await {
            Ok(()) => return,
            Err(error) => assert!(error.is_retryable() && start.elapsed() < PATIENCE * 2, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A consumer in this process that takes its time, so that events are in hand whenever a fault strikes.
async fn consume(broker: &Arc<dyn Broker>, topic: &str) -> (Handled, Health) {
    let subscription = broker.subscribe(subscribe(topic)).await.unwrap();
    let (handled, health) = (Handled::default(), subscription.health());
    let service = service_fn({
        let handled = handled.clone();
        move |event: Event| {
            let handled = handled.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                *handled.lock().unwrap().entry(event.id.to_string()).or_default() += 1;
                Ok::<_, BoxError>(())
            }
        }
    });
    tokio::spawn(deliver(subscription, service).run());
    (handled, health)
}

async fn wait_for(handled: &Handled, count: usize) {
    let start = Instant::now();
    while handled.lock().unwrap().len() < count {
        assert!(start.elapsed() < PATIENCE * 2, "handled {} of {count}", handled.lock().unwrap().len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Publishes through `url`, lets `fault` strike in mid-stream, and counts: every confirmed event is handled.
async fn every_confirmed_event_is_handled(url: &str, name: &str, fault: impl Future<Output = ()>) -> Health {
    let topic = format!("fault.{name}{:x}", fastrand::u32(..));
    let consumer = micro_broker::open(url).unwrap();
    let (handled, health) = consume(&consumer, &topic).await;
    let publisher = Publisher::new(micro_broker::open(url).unwrap()).within(Duration::from_secs(3));
    let publishing = tokio::spawn({
        let topic = topic.clone();
        async move {
            let ids = futures_util::stream::iter(0..EVENTS);
            let confirmed = ids.map(|i| async move { i.to_string() }).buffered(1).map(|id| {
                let (publisher, topic) = (&publisher, &topic);
                async move {
                    // Half a second of a quiet machine: the fault comes in the middle.
                    tokio::time::sleep(Duration::from_millis(4)).await;
                    publish(publisher, topic, &id).await;
                }
            });
            confirmed.buffer_unordered(8).collect::<Vec<_>>().await.len()
        }
    });
    wait_for(&handled, EVENTS / 10).await;
    assert!(!publishing.is_finished(), "the fault strikes in mid-stream");
    fault.await;
    assert_eq!(publishing.await.unwrap(), EVENTS, "publishing goes on after the fault");
    wait_for(&handled, EVENTS).await;
    let handled = handled.lock().unwrap();
    let twice = handled.values().filter(|times| **times > 1).count();
    println!("{name}: {EVENTS} confirmed, {} handled, {twice} more than once", handled.len());
    health
}

/// R17 of go-micro: over RabbitMQ, what was subscribed to is lost with the connection.
pub(crate) async fn a_killed_and_restarted_broker_loses_nothing<S: Server>(server: &mut S) {
    a_killed_and_restarted_broker_loses_nothing_of(&server.url(), server).await;
}

/// The same where the URL says more than where the server is.
pub(crate) async fn a_killed_and_restarted_broker_loses_nothing_of<S: Server>(url: &str, server: &mut S) {
    let health = every_confirmed_event_is_handled(url, "restart", async {
        server.kill();
        tokio::time::sleep(Duration::from_secs(2)).await;
        tokio::task::block_in_place(|| server.restart());
    })
    .await;
    assert!(health.report().connected && health.report().restored >= 1, "{:?}", health.report());
}

pub(crate) async fn a_frozen_broker_loses_nothing<S: Server>(server: &S) {
    every_confirmed_event_is_handled(&server.url(), "freeze", async {
        signal(server.pid(), "STOP");
        tokio::time::sleep(Duration::from_secs(5)).await;
        signal(server.pid(), "CONT");
    })
    .await;
}

pub(crate) async fn a_cut_connection_loses_nothing<S: Server>(server: &S) {
    let proxy = Proxy::before(server.port()).await;
    let url = server.url().replace(&server.port().to_string(), &proxy.port.to_string());
    let health = every_confirmed_event_is_handled(&url, "cut", async {
        proxy.cut(true);
        tokio::time::sleep(Duration::from_secs(10)).await;
        proxy.cut(false);
    })
    .await;
    assert!(health.report().connected && health.report().restored >= 1, "{:?}", health.report());
}

pub(crate) async fn what_a_killed_consumer_held_goes_to_another<S: Server>(server: &S) {
    a_failing_consumer_is_replaced(server, "killed", |consumer| consumer.kill()).await;
}

pub(crate) async fn what_a_frozen_consumer_holds_goes_to_another<S: Server>(server: &S) {
    a_failing_consumer_is_replaced(server, "frozen", |consumer| signal(consumer.pid(), "STOP")).await;
}

async fn a_failing_consumer_is_replaced<S: Server>(server: &S, name: &str, fail: impl Fn(&mut Subscriber)) {
    let (url, topic) = (server.url(), format!("consumer.{name}{}", std::process::id()));
    // Slow enough to hold events when it fails, one after the other for a second each.
    let mut first = tokio::task::block_in_place(|| Subscriber::start(&url, &topic, 1000));
    let publisher = Publisher::new(micro_broker::open(&url).unwrap());
    for i in 0..100 {
        publish(&publisher, &topic, &i.to_string()).await;
    }
    let mut handled = BTreeSet::new();
    tokio::task::block_in_place(|| {
        first.collect("GOT", &mut handled, 1);
        let second = Subscriber::start(&url, &topic, 0);
        fail(&mut first);
        while let Some(line) = first.line(Duration::from_millis(200)) {
            handled.extend(line.strip_prefix("GOT ").map(str::to_owned));
        }
        second.collect("GOT", &mut handled, 100);
    });
}

pub(crate) async fn a_poisonous_event_is_put_aside_and_holds_nobody_up<S: Server>(server: &S) {
    let (url, topic) = (server.url(), format!("poison.{}", std::process::id()));
    let subscriber = tokio::task::block_in_place(|| Subscriber::start(&url, &topic, 0));
    let publisher = Publisher::new(micro_broker::open(&url).unwrap());
    for i in 0..20 {
        publish(&publisher, &topic, &if i == 3 { "poison".to_owned() } else { i.to_string() }).await;
    }
    tokio::task::block_in_place(|| {
        let (mut handled, mut dead) = (0, 0);
        while handled < 19 || dead < 1 {
            let line = subscriber.line(PATIENCE).unwrap();
            handled += usize::from(line.starts_with("GOT "));
            dead += usize::from(line == "DEAD poison");
        }
    });
}

/// 100 MB wait in the server while a slow consumer, in a process of its own, holds what it asked for.
pub(crate) async fn a_publisher_far_ahead_does_not_fill_its_consumer<S: Server>(server: &S) {
    let (url, topic) = (server.url(), format!("ahead.{}", std::process::id()));
    let subscriber = tokio::task::block_in_place(|| Subscriber::start(&url, &topic, 600_000));
    let before = subscriber.resident();
    let publisher = Publisher::new(micro_broker::open(&url).unwrap()).within(PATIENCE);
    let body = bytes::Bytes::from(vec![7; 100_000]);
    let all = futures_util::stream::iter(0..1_000)
        .map(|_| publisher.publish(Event::new(topic.as_str(), body.clone())));
    all.buffer_unordered(16).for_each(|confirmed| async { confirmed.unwrap() }).await;
    let grown = subscriber.resident().saturating_sub(before);
    assert!(grown < 50_000, "the consumer grew by {grown} KiB");
    publisher_forgets(&url, &topic).await;
}

/// A publisher that is a hundred times as fast as its consumer, for so long: the process of the consumer does not grow,
/// and the publisher waits, or is told.
pub(crate) async fn a_faster_publisher_does_not_fill_its_consumer(url: &str, length: Duration) {
    let topic = format!("fast.{:x}", fastrand::u32(..));
    let subscriber = tokio::task::block_in_place(|| Subscriber::start(url, &topic, 1_000));
    let before = subscriber.resident();
    let publisher = Publisher::new(micro_broker::open(url).unwrap()).within(PATIENCE);
    let body = bytes::Bytes::from(vec![7; 10_000]);
    let (begun, mut published, mut refused) = (Instant::now(), 0, 0);
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    // A machine that is busy with something else needs longer for enough of them.
    while begun.elapsed() < length || published < 100 {
        assert!(begun.elapsed() < length + PATIENCE, "{published} published, {refused} refused");
        ticks.tick().await;
        let ten = (0..10).map(|_| publisher.publish(Event::new(topic.as_str(), body.clone())));
        for told in futures_util::future::join_all(ten).await {
            match told {
                Ok(()) => published += 1,
                Err(Error::Full { .. }) => refused += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        let grown = subscriber.resident().saturating_sub(before);
        assert!(grown < 100_000, "the consumer grew by {grown} KiB after {published} events");
    }
    println!("{published} events of 10 kB were published in {length:?}, {refused} refused");
    publisher_forgets(url, &topic).await;
}

/// Leaves nothing of all that behind for the tests that follow on the same server.
async fn publisher_forgets(url: &str, topic: &str) {
    micro_broker::open(url).unwrap().forget(topic, "workers").await.unwrap();
}

pub(crate) async fn publishing_without_a_broker_fails_in_time_and_says_so(scheme: &str) {
    let broker = micro_broker::open(&format!("{scheme}://127.0.0.1:{}", free_port())).unwrap();
    let publisher = Publisher::new(broker.clone()).within(Duration::from_millis(500));
    let start = Instant::now();
    let error = publisher.publish(Event::new("t.x", "x")).await.unwrap_err();
    assert!(start.elapsed() < PATIENCE, "it fails after {:?}", start.elapsed());
    assert!(matches!(error, Error::Unavailable { .. }) && error.is_unpublished(), "{error:?}");
    assert!(error.to_string().contains("unavailable, nothing was published"), "{error}");
    assert!(broker.subscribe(Subscribe::to("t.x")).await.is_err());
    broker.close().await;
    let closed = publisher.publish(Event::new("t.x", "x")).await.unwrap_err();
    assert!(matches!(closed, Error::Closed { .. } | Error::Unavailable { .. }), "{closed:?}");
}

pub(crate) async fn what_a_dead_broker_did_not_confirm_is_not_reported_published<S: Server>(server: &mut S) {
    let publisher = Publisher::new(micro_broker::open(&server.url()).unwrap()).within(Duration::from_secs(1));
    publish(&publisher, "lost.x", "before").await;
    server.kill();
    for _ in 0..3 {
        assert!(publisher.publish(Event::new("lost.x", "x")).await.is_err());
    }
}
