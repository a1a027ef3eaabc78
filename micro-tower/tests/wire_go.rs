//! go-micro itself as the peer, v5 and, where it can be had, v6, over HTTP and over NATS: its client of our server, its server
//! of our client. Needs `go` on `PATH`.
#![cfg(feature = "nats")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code, reason = "events need more of a server than calls do")]
#[path = "../../micro-broker/tests/contract/server.rs"]
mod server;
#[allow(dead_code, reason = "what is asked of a registry is not asked of a server")]
#[path = "../../micro-discover/tests/support/gopeer.rs"]
mod gopeer;

use std::{path::Path, process::Stdio, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use http::HeaderMap;
use micro_discover::{Endpoint, Memory, Registry, Service as Record};
use micro_tower::{
    Client, Fault, Server,
    transport::Connector,
    wire::{self, NatsInbox, Requests, Router},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use server::{NatsServer, Server as _};
use tokio::io::{AsyncBufReadExt, BufReader};

#[derive(Serialize, Deserialize)]
struct Req {
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Rsp {
    greeting: String,
}

/// `google.protobuf.StringValue`.
#[derive(Clone, PartialEq, prost::Message)]
struct Text {
    #[prost(string, tag = "1")]
    value: String,
}

async fn hello(request: http::Request<Req>) -> Result<Rsp, Fault> {
    let tenant = request.headers()["x-tenant"].to_str().unwrap().to_owned();
    match request.into_body().name.as_str() {
        "err" => Err(Fault::bad_request("greeter.hello", "bad name")),
        "panic" => panic!("boom"),
        name => Ok(Rsp { greeting: format!("Hello {name}{tenant}") }),
    }
}

async fn proto(request: Text) -> Result<Text, Fault> {
    Ok(Text { value: format!("Hello {}", request.value) })
}

async fn twice(requests: Requests<Req>) -> Result<impl Stream<Item = Result<Rsp, Fault>>, Fault> {
    Ok(requests.take(2).map(|request| Ok(Rsp { greeting: format!("s-{}", request?.name) })))
}

async fn lots(mut requests: Requests<Req>) -> Result<impl Stream<Item = Result<Rsp, Fault>>, Fault> {
    let name = requests.next().await.ok_or("no request")??.name;
    Ok(stream::iter(0..100).map(move |n| Ok(Rsp { greeting: format!("{name}{n}") })))
}

fn router() -> Router {
    Router::new()
        .route("Greeter.Hello", hello)
        .route("Greeter.Proto", proto)
        .stream("Greeter.Stream", twice)
        .stream("Greeter.Lots", lots)
}

/// go-micro's client gets all that it asks for at the address, and the broker, of `args`.
async fn is_answered(program: &Path, args: &[&str]) {
    let called = tokio::process::Command::new(program).arg("call").args(args).output();
    let called = tokio::time::timeout(Duration::from_secs(60), called).await.unwrap().unwrap();
    let said = String::from_utf8(called.stdout).unwrap();
    let mut expected = Vec::new();
    for content_type in ["application/json", "application/json-rpc"] {
        expected.push(format!("{content_type} Hello John! <nil>"));
        expected.push(format!(
            r#"{content_type}  {{"id":"greeter.hello","code":400,"detail":"bad name","status":"Bad Request"}}"#
        ));
        expected.push(format!(
            "{content_type}  {{\"id\":\"go.micro.server\",\"code\":500,\"detail\":\"panic recovered: boom\",\
             \"status\":\"Internal Server Error\"}}"
        ));
    }
    expected.push("application/protobuf Hello John <nil>".to_owned());
    expected.push("application/proto-rpc Hello John <nil>".to_owned());
    for line in
        ["missing rpc: can't find method Nope", "stream s-a", "stream s-b", "stream EOF", "lots 100 n99 EOF"]
    {
        expected.push(line.to_owned());
    }
    let said: Vec<_> = said.lines().collect();
    assert_eq!(said, expected, "{}", String::from_utf8_lossy(&called.stderr));
}

#[tokio::test]
async fn its_client_calls_our_server() {
    for program in gopeer::both().await {
        let server = Server::new().wire(true).bind().await.unwrap();
        let address = server.local_address().to_string();
        tokio::spawn(server.serve_until(router(), std::future::pending()));
        is_answered(&program, &[&address]).await;
    }
}

#[tokio::test]
async fn its_client_calls_our_inbox_at_a_nats_server() {
    let Some(broker) = NatsServer::start() else { return };
    for program in gopeer::both().await {
        let inbox = NatsInbox::open(async_nats::connect(broker.url()).await.unwrap()).await.unwrap();
        let subject = inbox.subject().to_owned();
        tokio::spawn(inbox.serve(router(), std::future::pending()));
        is_answered(&program, &[&subject, &broker.url()]).await;
    }
}

/// go-micro's server, until this is dropped.
struct Theirs {
    _process: tokio::process::Child,
    address: String,
}

impl Theirs {
    async fn start(program: &Path, broker: Option<&str>) -> Self {
        let mut process = tokio::process::Command::new(program)
            .arg("serve")
            .args(broker)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.next_line().await.unwrap().unwrap();
        Self { _process: process, address }
    }
}

/// Our client gets all that it asks for at `endpoint`, through `connector`.
async fn answers(endpoint: Endpoint, connector: Connector) {
    let registry = Memory::default();
    let endpoint = endpoint.metadata("protocol", "mucp").metadata("server", "mucp");
    registry.announce(&Record::new("greeter").endpoint(endpoint), Duration::from_secs(60)).await.unwrap();
    let client = Client::builder("greeter", Arc::new(registry))
        .timeout(Duration::from_secs(20))
        .connector(connector)
        .build();
    while client.endpoints().is_empty() {
        tokio::task::yield_now().await;
    }
    let greeter = wire::Client::new(client);

    let answer = greeter.call_json("Greeter.Hello", json!({ "name": "John" })).await.unwrap();
    assert_eq!(answer, json!({ "greeting": "Hello John" }));
    let fault = greeter.call_json("Greeter.Hello", json!({ "name": "err" })).await.unwrap_err();
    assert_eq!(fault, Fault::bad_request("greeter.hello", "bad name"));
    let answer: Text = greeter.call("/greeter.Greeter/Proto", &Text { value: "John".into() }).await.unwrap();
    assert_eq!(answer.value, "Hello John");
    let fault = greeter.call_json("Greeter.Nope", json!({})).await.unwrap_err();
    assert_eq!(fault.code, 501);

    // In turn: this server loses messages of a stream that come faster than it reads them.
    let (say, said) = tokio::sync::mpsc::unbounded_channel();
    let names = stream::unfold(said, |mut said| async { Some((said.recv().await?, said)) });
    let mut answers = greeter.stream_json("Greeter.Stream", HeaderMap::new(), names).await.unwrap();
    for name in ["a", "b"] {
        say.send(json!({ "name": name })).unwrap();
        assert_eq!(answers.next().await.unwrap().unwrap()["greeting"], format!("s-{name}"));
    }
    say.send(json!({ "name": "end" })).unwrap();
    assert!(answers.next().await.is_none());
    let one = stream::iter([json!({ "name": "n" })]);
    let answers = greeter.stream_json("Greeter.Lots", HeaderMap::new(), one).await.unwrap();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap()["greeting"].clone()).collect().await;
    assert_eq!((answers.len(), answers[99].as_str()), (100, Some("n99")));
}

#[tokio::test]
async fn our_client_calls_its_server() {
    for program in gopeer::both().await {
        let theirs = Theirs::start(&program, None).await;
        let endpoint = Endpoint::new("greeter-1", theirs.address.parse().unwrap());
        answers(endpoint, Connector::new()).await;
    }
}

#[tokio::test]
async fn our_client_calls_its_inbox_at_a_nats_server() {
    let Some(broker) = NatsServer::start() else { return };
    for program in gopeer::both().await {
        let theirs = Theirs::start(&program, Some(&broker.url())).await;
        let address = format!("nats://{}", theirs.address).parse().unwrap();
        let endpoint = Endpoint::new("greeter-1", address).metadata("transport", "nats");
        answers(endpoint, Connector::new().broker(broker.url())).await;
    }
}
