//! go-micro's own brokers as the peer: their events reach us, and ours reach them. Needs `go` on `PATH`.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use futures_util::StreamExt;
use http::HeaderValue;
use micro_broker::{Broker, Envelope, Event, Nats, Publisher, RabbitMq, Subscribe};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::server::{NatsServer, RabbitServer, Server};
use crate::suite::PATIENCE;

#[allow(dead_code, reason = "what is asked of a registry is not asked of a broker")]
#[path = "../../../micro-discover/tests/support/gopeer.rs"]
mod gopeer;

const TOPIC: &str = "orders.created";

/// What its broker publishes is an event with its id and its headers.
async fn its_event_is_read(peer: &Path, args: [&str; 2], broker: &dyn Broker) {
    let mut events = broker.subscribe(Subscribe::to(TOPIC)).await.unwrap();
    let published = Command::new(peer).args(args).args(["publish", TOPIC]).output().await.unwrap();
    assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    let delivery = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
    let event = delivery.event().clone();
    delivery.ack().await.unwrap();
    assert_eq!((&*event.topic, &event.body[..]), (TOPIC, &br#"{"name":"theirs"}"#[..]));
    assert_eq!(event.id.to_string(), "id-1");
    assert_eq!(event.headers["content-type"], "application/json");
    assert_eq!(event.headers["tenant"], "a");
}

/// What we publish reaches its handler.
async fn our_event_is_read_by_it(peer: &Path, args: [&str; 2], broker: Arc<dyn Broker>) {
    let mut process = Command::new(peer)
        .args(args)
        .args(["subscribe", TOPIC])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("READY"));
    let mut event = Event::new(TOPIC, r#"{"name":"ours"}"#);
    event.headers.insert("content-type", HeaderValue::from_static("application/json"));
    event.headers.insert("tenant", HeaderValue::from_static("a"));
    let id = event.id.to_string();
    // It says that it is ready before its subscription is with the server: what comes too early is lost to it.
    let publisher = Publisher::new(broker);
    let heard = timeout(PATIENCE, async {
        let mut again = tokio::time::interval(std::time::Duration::from_millis(200));
        loop {
            tokio::select! {
                line = lines.next_line() => return line.unwrap().unwrap(),
                _ = again.tick() => publisher.publish(event.clone()).await.unwrap(),
            }
        }
    });
    let heard = heard.await.expect("heard in time");
    let headers = format!("Content-Type=application/json Micro-ID={id} Micro-Topic={TOPIC} Tenant=a");
    assert_eq!(heard, format!(r#"{TOPIC} {{"name":"ours"}} {headers}"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_both_ways_over_nats() {
    let Some(server) = NatsServer::start() else { return };
    let url = server.url();
    for peer in gopeer::both().await {
        let broker = Nats::new(&url).unwrap().envelope(Envelope::GoMicro);
        its_event_is_read(&peer, ["nats", &url], &broker).await;
        our_event_is_read_by_it(&peer, ["nats", &url], Arc::new(broker)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_both_ways_over_rabbitmq() {
    let Some(server) = RabbitServer::start() else { return };
    let url = server.url();
    for peer in gopeer::both().await {
        let broker = RabbitMq::new(&url).unwrap().envelope(Envelope::GoMicro);
        // The exchange is made by whoever comes first, as the other would make it.
        our_event_is_read_by_it(&peer, ["amqp", &url], Arc::new(broker.clone())).await;
        its_event_is_read(&peer, ["amqp", &url], &broker).await;
    }
}
