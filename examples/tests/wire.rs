//! What micro-build generates for go-micro's RPC and for tests, at work.
#![allow(clippy::unwrap_used, clippy::panic)]

/// The generated code of `proto/chat.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod proto {
    tonic::include_proto!("chat");
}

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use http::HeaderMap;
use micro_discover::{Endpoint, Memory, Registry, Service as Record};
use micro_tower::{Client, Fault, Server, wire};
use proto::{Line, chat_client::ChatClient, chat_mock::ChatMock, chat_wire};
use serde_json::json;
use tonic::{Request, Response, Status};

fn line(text: &str, number: i64) -> Line {
    Line { text: text.to_owned(), number }
}

fn mock() -> ChatMock {
    ChatMock::new()
        .say(|request: Request<Line>| async move {
            match request.into_inner() {
                Line { text, .. } if text.is_empty() => Err(Status::invalid_argument("say something")),
                said => Ok(Response::new(line(&said.text, said.number + 1))),
            }
        })
        .lots(|request: Request<Line>| async move {
            let Line { text, number } = request.into_inner();
            let lines = stream::iter(0..number).map(move |n| Ok(line(&text, n)));
            Ok(Response::new(Box::pin(lines) as _))
        })
        .sum(|request: Request<tonic::Streaming<Line>>| async move {
            let mut lines = request.into_inner();
            let mut sum = 0;
            while let Some(line) = lines.next().await {
                sum += line?.number;
            }
            Ok(Response::new(line("sum", sum)))
        })
}

/// A client of the mock, which is announced with `labels`.
async fn client(labels: &[(&str, &str)]) -> Client {
    let server = Server::new().wire(true).bind().await.unwrap();
    let address = server.local_address().to_string();
    tokio::spawn(server.serve_until(chat_wire::router(mock()).unwrap(), std::future::pending()));
    let registry = Memory::default();
    let mut endpoint = Endpoint::new("a", address.parse().unwrap());
    for (name, value) in labels {
        endpoint = endpoint.metadata(*name, *value);
    }
    registry.announce(&Record::new("chat").endpoint(endpoint), Duration::from_secs(60)).await.unwrap();
    let client = Client::builder("chat", Arc::new(registry)).timeout(Duration::from_secs(20)).build();
    while client.endpoints().is_empty() {
        tokio::task::yield_now().await;
    }
    client
}

/// What an endpoint can be: gRPC, or go-micro's RPC of v6 and of v0.
const KINDS: [&[(&str, &str)]; 3] =
    [&[("speaks", "grpc json")], &[("protocol", "mucp"), ("server", "mucp")], &[("server", "rpc")]];

#[tokio::test]
async fn a_generated_client_speaks_what_the_endpoint_does() {
    for labels in KINDS {
        let chat = chat_wire::Client::new(client(labels).await);
        assert_eq!(chat.say(line("hi", 1)).await.unwrap(), line("hi", 2), "{labels:?}");
        let fault = chat.say(line("", 0)).await.unwrap_err();
        assert_eq!((fault.code, fault.detail.as_str()), (400, "say something"), "{labels:?}");
        let lines: Vec<_> = chat.lots(line("n", 3)).await.unwrap().map(Result::unwrap).collect().await;
        assert_eq!(lines, [line("n", 0), line("n", 1), line("n", 2)], "{labels:?}");
        // v0 has no way to say that a stream of requests ends.
        if labels != KINDS[2] {
            let sum = chat.sum(stream::iter((1..=4).map(|n| line("", n)))).await.unwrap();
            assert_eq!(sum, line("sum", 10), "{labels:?}");
            // The mock says nothing of it.
            let answers = chat.talk(stream::empty()).await;
            let fault = match answers {
                Ok(mut answers) => answers.next().await.unwrap().unwrap_err(),
                Err(fault) => fault,
            };
            assert_eq!((fault.code, fault.detail.as_str()), (501, "the test does not answer Chat.Talk"));
        }
    }
}

#[tokio::test]
async fn tonics_own_client_calls_go_micros_servers() {
    for labels in KINDS {
        let mut chat = ChatClient::new(client(labels).await);
        assert_eq!(chat.say(line("hi", 1)).await.unwrap().into_inner(), line("hi", 2), "{labels:?}");
        assert_eq!(chat.say(line("", 0)).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_tonic_service_is_called_in_json() {
    for labels in KINDS {
        let chat = wire::Client::new(client(labels).await);
        let answer = chat.call_json("Chat.Say", json!({ "text": "hi", "number": "41" })).await.unwrap();
        assert_eq!(answer, json!({ "text": "hi", "number": "42" }), "{labels:?}");
        let fault: Fault = chat.call_json("Chat.Say", json!({ "txt": 1 })).await.unwrap_err();
        assert_eq!(
            fault.http(),
            if labels == KINDS[2] { fault.http() } else { http::StatusCode::BAD_REQUEST }
        );
        let one = stream::iter([json!({ "text": "n", "number": 2 })]);
        let lines = chat.stream_json("Chat.Lots", HeaderMap::new(), one).await.unwrap();
        let lines: Vec<_> = lines.map(|line| line.unwrap()).collect().await;
        assert_eq!(lines, [json!({ "text": "n" }), json!({ "text": "n", "number": "1" })], "{labels:?}");
    }
}

/// What `micro new order-book` writes, as a process of its own. It dies with this.
struct OrderBook(std::process::Child);

impl OrderBook {
    fn start(registry: &str) -> Self {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_order_book"));
        Self(command.env("MICRO_REGISTRY", registry).stdout(std::process::Stdio::null()).spawn().unwrap())
    }
}

impl Drop for OrderBook {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_new_service_runs_and_answers_by_its_reflection() {
    let directory = tempfile::tempdir().unwrap();
    let registry = format!("file:{}", directory.path().display());
    let _service = OrderBook::start(&registry);
    let registry = micro_discover::open(&registry).unwrap();
    let client = Client::builder("order-book", registry).timeout(Duration::from_secs(60)).build();
    while client.endpoints().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let answer =
        wire::Client::new(client).call_json("OrderBook.Call", json!({ "name": "John" })).await.unwrap();
    assert_eq!(answer, json!({ "msg": "Hello John" }));
}
