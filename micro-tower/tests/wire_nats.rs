//! go-micro's RPC over NATS, between our server and our client: the messages are those that were recorded from
//! go-micro.
#![cfg(feature = "nats")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code, reason = "events need more of a server than calls do")]
#[path = "../../micro-broker/tests/contract/server.rs"]
mod server;

use std::{sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use http::HeaderMap;
use micro_discover::{Memory, Registry, Service as Record};
use micro_tower::{
    Client, Fault,
    transport::Connector,
    wire::{self, NatsInbox, Requests, Router},
};
use serde_json::{Value, json};
use server::Server as _;

async fn hello(request: Value) -> Result<Value, Fault> {
    match request["name"].as_str() {
        Some("err") => Err(Fault::bad_request("greeter.hello", "bad name")),
        name => Ok(json!({ "greeting": format!("Hello {}", name.unwrap_or_default()) })),
    }
}

async fn echo(requests: Requests<Value>) -> Result<impl Stream<Item = Result<Value, Fault>>, Fault> {
    Ok(requests)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_is_called_as_go_micro_calls_it() {
    let Some(broker) = server::NatsServer::start() else { return };
    let nats = async_nats::connect(broker.url()).await.unwrap();
    let inbox = NatsInbox::open(nats.clone()).await.unwrap();
    let subject = inbox.subject().to_owned();
    let endpoint = inbox.endpoint("greeter-1").unwrap();
    let router = Router::new().route("Greeter.Hello", hello).stream("Greeter.Echo", echo);
    tokio::spawn(inbox.serve(router, std::future::pending()));

    // The recorded request of v6, and its recorded answer.
    let asked = r#"{"Header":{"Accept":"application/json","Content-Type":"application/json","Micro-Endpoint":"Greeter.Hello","Micro-ID":"0","Micro-Method":"Greeter.Hello","Micro-Service":"greeter","Timeout":"5000000000"},"Body":"eyJuYW1lIjoiSm9obiJ9Cg=="}"#;
    let answered = r#"{"Header":{"Content-Type":"application/json","Micro-ID":"0","X-Micro-ID":"0"},"Body":"eyJncmVldGluZyI6IkhlbGxvIEpvaG4ifQo="}"#;
    let answer = nats.request(subject, asked.into()).await.unwrap();
    assert_eq!(std::str::from_utf8(&answer.payload).unwrap(), answered);

    // Our client, by what the record says.
    let registry = Memory::default();
    registry.announce(&Record::new("greeter").endpoint(endpoint), Duration::from_secs(60)).await.unwrap();
    let client = Client::builder("greeter", Arc::new(registry))
        .timeout(Duration::from_secs(20))
        .connector(Connector::new().broker(broker.url()))
        .build();
    while client.endpoints().is_empty() {
        tokio::task::yield_now().await;
    }
    let greeter = wire::Client::new(client);
    let answer = greeter.call_json("Greeter.Hello", json!({ "name": "John" })).await.unwrap();
    assert_eq!(answer, json!({ "greeting": "Hello John" }));
    let fault = greeter.call_json("Greeter.Hello", json!({ "name": "err" })).await.unwrap_err();
    assert_eq!(fault, Fault::bad_request("greeter.hello", "bad name"));
    let requests = stream::iter(0..5).map(|n| json!({ "n": n }));
    let answers = greeter.stream_json("Greeter.Echo", HeaderMap::new(), requests).await.unwrap();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap()["n"].clone()).collect().await;
    assert_eq!(answers, [0, 1, 2, 3, 4]);
}

/// A client of NATS's own has an inbox for each request, and says of none that it is done with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_is_answered_however_many_have_asked_before() {
    let Some(broker) = server::NatsServer::start() else { return };
    let nats = async_nats::connect(broker.url()).await.unwrap();
    let inbox = NatsInbox::open(nats.clone()).await.unwrap();
    let subject = inbox.subject().to_owned();
    tokio::spawn(inbox.serve(Router::new().route("Greeter.Hello", hello), std::future::pending()));

    let asked = r#"{"Header":{"Content-Type":"application/json","Micro-Endpoint":"Greeter.Hello","Micro-ID":"0","Micro-Service":"greeter"},"Body":"eyJuYW1lIjoiSm9obiJ9Cg=="}"#;
    let ask = async |_| {
        let answer =
            tokio::time::timeout(Duration::from_secs(60), nats.request(subject.clone(), asked.into()));
        answer.await.is_ok_and(|answer| answer.is_ok())
    };
    // More than there may be peers at a time.
    let answered = stream::iter(0..10_500).map(ask).buffer_unordered(32);
    assert!(answered.all(std::future::ready).await);
}
