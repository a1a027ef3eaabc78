//! What becomes of calls when a broker, or who listens there, is not.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use bytes::Bytes;
#[cfg(feature = "nats")]
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Full};
use micro_balance::NotSent;
use micro_discover::{Endpoint, Memory, Registry as _, Service};
use micro_tower::transport::{Connection, Connector};
use tokio::time::{sleep, timeout};
use tonic::body::Body;
use tower::{Service as _, ServiceExt as _};

use crate::{
    server::Server,
    suite::{Running, client, post, text, until},
};

pub(crate) fn connection(address: &str, broker: &str) -> Connection {
    let endpoint = Endpoint::new("a", address.parse().unwrap());
    Connector::new().connect_timeout(Duration::from_secs(10)).broker(broker).connect(&endpoint)
}

pub(crate) async fn nobody_listens_at(address: &str, broker: &str) {
    let mut connection = connection(address, broker);
    let error =
        timeout(Duration::from_secs(5), connection.ready()).await.expect("the broker says so").unwrap_err();
    assert!(NotSent::is(error.as_ref()), "{error:?}");
    assert!(format!("{error:?}").contains("nobody listens there"), "{error:?}");
}

pub(crate) async fn the_name_of_the_service_reaches_any_of_its_replicas(scheme: &str, broker: &str) {
    let registry = Memory::default();
    let replicas = join_all((0..2).map(|_| Running::start(broker, &registry))).await;
    // Each connection is to one of them.
    until_all_called(&replicas, || async {
        let mut connection = connection(&format!("{scheme}://micro.rpc.echo"), broker);
        let response = connection.ready().await.unwrap().call(post("/echo", text("x"))).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "x");
    })
    .await;
}

/// What the last one leaves behind goes at every moment of the next one's beginning.
pub(crate) async fn one_comes_while_the_last_goes(broker: &str) {
    let begin = || {
        let server = micro_tower::Server::new().listen(broker);
        tokio::spawn(server.announce(Arc::new(Memory::default()), Service::new("passing")).bind())
    };
    let mut last = begin().await.unwrap().unwrap();
    for step in 0..150 {
        let next = begin();
        sleep(Duration::from_micros(100) * step).await;
        drop(last);
        last = timeout(Duration::from_secs(5), next).await.unwrap().unwrap().expect("it listens");
    }
}

async fn until_all_called<F: Future<Output = ()>>(replicas: &[Running], call: impl Fn() -> F) {
    for _ in 0..64 {
        timeout(Duration::from_secs(30), call()).await.expect("it is answered");
        if replicas.iter().all(|replica| replica.counts.begun.load(SeqCst) > 0) {
            return;
        }
    }
    panic!("64 connections went to one replica");
}

/// Calls go on while the broker is killed and comes back: each fails within a bound or is answered, none is handled
/// twice, and in the end all are answered again.
pub(crate) async fn a_broker_that_restarts_answers_nothing_twice(broker: &mut (impl Server + 'static)) {
    let registry = Memory::default();
    let server = Running::start(&broker.url(), &registry).await;
    let client = client(&registry);
    let sent = Arc::new(std::sync::Mutex::new(HashSet::new()));
    let call = |number: u32| {
        let (client, sent) = (client.clone(), sent.clone());
        async move {
            let body = Body::new(Full::new(Bytes::from(number.to_string())));
            let response = timeout(Duration::from_secs(10), client.send(post("/echo", body))).await;
            // An error is an answer; silence is none.
            let Ok(response) = response.expect("a call ends within its bound") else { return false };
            let Ok(body) = response.into_body().collect().await else { return false };
            assert_eq!(body.to_bytes(), number.to_string(), "the answer to another call");
            assert!(sent.lock().unwrap().insert(number), "answered twice");
            true
        }
    };
    let before = join_all((0..50).map(call)).await;
    assert!(before.into_iter().all(|answered| answered));
    let meanwhile = tokio::spawn(join_all((50..100).map(call)));
    broker.kill();
    meanwhile.await.expect("no call panics");
    tokio::task::block_in_place(|| broker.restart());
    let mut number = 100;
    let recovered = async {
        while !call(number).await {
            number += 1;
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), recovered).await.expect("calls are answered again");
    let after = join_all((number + 1..number + 51).map(call)).await;
    assert!(after.into_iter().all(|answered| answered));
    let handled = server.counts.begun.load(SeqCst);
    assert!(handled <= number as usize + 51, "{handled} handlers for {} calls", number + 51);
    until("no handler is left", || server.counts.is_idle()).await;
}

/// Whoever may publish can send names that lapin ends its connection over, and tables that its stack overflows over.
#[cfg(feature = "rabbitmq")]
pub(crate) async fn properties_that_cannot_be_read_disturb_no_transport(
    broker: &crate::server::RabbitServer,
) {
    let registry = Memory::default();
    let _server = Running::start(&broker.url(), &registry).await;
    let client = client(&registry);
    let name = registry.get("echo").await.unwrap()[0].endpoints[0].address.authority().to_owned();
    let deep = (0..10_000u32).fold(Vec::new(), |inner: Vec<u8>, level| {
        [&b"\x01aF"[..], &(level * 7).to_be_bytes(), &inner].concat()
    });
    let table = [&b"\x20\0"[..], &70_000u32.to_be_bytes(), &deep].concat();
    for properties in [&b"\0\x80\x06J\xfcrgen"[..], &table] {
        for key in ["micro.rpc.echo", &name] {
            crate::server::publish_raw(broker.port(), "", key.as_bytes(), properties, b"");
            for _ in 0..20 {
                let answered = timeout(Duration::from_secs(10), client.send(post("/echo", text("x")))).await;
                assert!(answered.expect("a call ends within its bound").is_ok());
            }
        }
    }
}

/// Whoever may publish can send headers that async-nats gives its connection up over, or panics at: whatever end they are
/// sent to, calls go on.
#[cfg(feature = "nats")]
pub(crate) async fn headers_that_cannot_be_read_end_no_transport(broker: &crate::server::NatsServer) {
    let registry = Memory::default();
    let server = Running::start(&broker.url(), &registry).await;
    let client = client(&registry);
    let answered = || async {
        let response = timeout(Duration::from_secs(10), client.send(post("/echo", text("x")))).await;
        response.expect("a call ends within its bound").is_ok()
    };
    let spy = async_nats::connect(broker.url()).await.unwrap();
    let mut inboxes = spy.subscribe("_INBOX.>").await.unwrap();
    // Once the server knows: what another connection sends may overtake what is only flushed.
    spy.publish("_INBOX.known", "".into()).await.unwrap();
    inboxes.next().await.unwrap();
    assert!(answered().await);
    let inbox = inboxes.next().await.unwrap().subject;
    drop(inboxes);
    let name = registry.get("echo").await.unwrap()[0].endpoints[0].address.authority().to_owned();
    for head in [&b"NATS/1.0\r\nname: J\xfcrgen\r\n\r\n"[..], b"NATS/1.0\r\nname: a\rb\r\n\r\n"] {
        for subject in [&*inbox, "micro.rpc.echo", &name, &format!("{name}.1")] {
            broker.publish_raw(subject, head, b"");
            // A call may be answered just before it breaks.
            let mut in_a_row = 0;
            let recovered = async {
                while in_a_row < 5 {
                    in_a_row = if answered().await { in_a_row + 1 } else { 0 };
                    sleep(Duration::from_millis(50)).await;
                }
            };
            let recovered = timeout(Duration::from_secs(30), recovered).await;
            recovered.unwrap_or_else(|_| panic!("no answer after {} at {subject}", head.escape_ascii()));
        }
    }
    until("no handler is left", || server.counts.is_idle()).await;
}
