//! Calls to go-micro's servers: what they hear is what its own clients say, and what they answer is understood.
#![allow(clippy::unwrap_used, clippy::panic)]

mod golden;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use golden::{Exchange, exchanges};
use http::HeaderMap;
use micro_discover::{Endpoint, Memory, Registry, Service};
use micro_tower::{Client, Fault, wire};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

/// A client of one endpoint with these labels.
async fn client(address: std::net::SocketAddr, labels: &[(&str, &str)]) -> wire::Client {
    let registry = Memory::default();
    let mut endpoint = Endpoint::new("a", address.to_string().parse().unwrap());
    for (name, value) in labels {
        endpoint = endpoint.metadata(*name, *value);
    }
    let record = Service::new("greeter").endpoint(endpoint);
    registry.announce(&record, Duration::from_secs(60)).await.unwrap();
    let client = Client::builder("greeter", Arc::new(registry)).timeout(Duration::from_secs(5)).build();
    while client.endpoints().is_empty() {
        tokio::task::yield_now().await;
    }
    wire::Client::new(client)
}

/// A server of recorded answers.
struct Recorded {
    address: std::net::SocketAddr,
    heard: mpsc::UnboundedReceiver<Vec<u8>>,
    connections: Arc<AtomicUsize>,
}

/// A server that answers each connection's first request with what was recorded, and tells what it heard.
async fn recorded(answers: Vec<Vec<u8>>) -> Recorded {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, heard) = mpsc::unbounded_channel();
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let connections = Arc::new(AtomicUsize::new(0));
    let accepted = connections.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            accepted.fetch_add(1, Relaxed);
            let (tell, answers) = (tell.clone(), answers.clone());
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while stream.read_buf(&mut bytes).await.unwrap_or(0) > 0 {
                    if is_whole(&bytes) {
                        let _ = tell.send(std::mem::take(&mut bytes));
                        let answer = answers.lock().unwrap().next();
                        stream.write_all(&answer.unwrap_or_default()).await.unwrap();
                    }
                }
            });
        }
    });
    Recorded { address, heard, connections }
}

/// Whether `bytes` are a request with the body it announces.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    length.map_or(body == "0\r\n\r\n", |length| body.len() >= length.parse().unwrap())
}

/// A request without what differs from one run to the next.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let differs = ["Host: ", "User-Agent: ", "Timeout: ", "Content-Length: "];
    let line =
        |line: &str| differs.iter().find(|name| line.starts_with(*name)).copied().unwrap_or(line).to_owned();
    let head: Vec<_> = head.lines().map(line).collect();
    format!("{}\n\n{body}", head.join("\n"))
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn named<'a>(all: &'a [Exchange], names: &[&str]) -> Vec<&'a Exchange> {
    names.iter().map(|name| all.iter().find(|exchange| exchange.name == *name).unwrap()).collect()
}

const V6: &[(&str, &str)] = &[("protocol", "mucp"), ("server", "mucp"), ("transport", "http")];
const V0: &[(&str, &str)] = &[("server", "rpc"), ("transport", "http")];

/// Makes `calls`, each recorded under a name, and shows that the server hears what was recorded. Gives the answers.
async fn called(
    log: &str,
    labels: &[(&str, &str)],
    from: &HeaderMap,
    calls: &[(&str, &str, &'static str)],
) -> Vec<Result<String, Fault>> {
    let all = exchanges(log);
    let names: Vec<_> = calls.iter().map(|(name, ..)| *name).collect();
    let recordings = named(&all, &names);
    let mut server = recorded(recordings.iter().map(|it| it.answered.clone()).collect()).await;
    let client = client(server.address, labels).await;
    let mut answers = Vec::new();
    for ((_, method, request), recording) in calls.iter().zip(&recordings) {
        let answer = client.call_text(method, from.clone(), Bytes::from_static(request.as_bytes())).await;
        answers.push(answer.map(|answer| String::from_utf8(answer.into()).unwrap()));
        assert_eq!(plain(&server.heard.recv().await.unwrap()), plain(&recording.sent), "{}", recording.name);
    }
    // A method's errors are none of the connection's.
    assert_eq!(server.connections.load(Relaxed), 1);
    answers
}

/// R8 of go-micro: answers repeat headers of the connection's first request, so nothing is told by them.
#[tokio::test]
async fn a_server_of_v6_hears_what_its_own_client_says() {
    let from = headers(&[("micro-from-service", "caller"), ("x-request-id", "abc")]);
    let calls = [
        ("v6 json call", "Greeter.Hello", r#"{"name":"John"}"#),
        ("v6 json call again (pooled conn)", "Greeter.Hello", r#"{"name":"Jane"}"#),
        ("v6 json micro error", "Greeter.Hello", r#"{"name":"err"}"#),
        ("v6 json plain error", "Greeter.Hello", r#"{"name":"plain"}"#),
        ("v6 unknown method", "Greeter.Nope", r#"{"name":"x"}"#),
        ("v6 unknown service", "Nope.Nope", r#"{"name":"x"}"#),
    ];
    let answers = called(include_str!("captures/v6.10.log"), V6, &from, &calls).await;
    assert_eq!(answers[0].as_deref(), Ok(r#"{"greeting":"Hello John"}"#));
    // With an id that is of another call.
    assert_eq!(answers[1].as_deref(), Ok(r#"{"greeting":"Hello Jane"}"#));
    assert_eq!(answers[2], Err(Fault::bad_request("greeter.hello", "bad name")));
    assert_eq!(answers[3], Err(Fault::plain("plain error")));
    for (answer, detail) in
        [(&answers[4], "rpc: can't find method Nope"), (&answers[5], "rpc: can't find service Nope")]
    {
        let fault = answer.as_ref().unwrap_err();
        assert_eq!((fault.code, fault.detail.as_str()), (501, detail));
    }
}

#[tokio::test]
async fn a_server_of_v0_hears_what_its_own_client_says() {
    let from = headers(&[("x-micro-from-service", "caller"), ("x-request-id", "abc")]);
    let calls = [
        ("v0.14 json call", "Greeter.Hello", r#"{"name":"John"}"#),
        ("v0.14 json call 2", "Greeter.Hello", r#"{"name":"Jane"}"#),
        ("v0.14 json error", "Greeter.Hello", r#"{"name":"err"}"#),
        ("v0.14 unknown method", "Greeter.Nope", r#"{"name":"x"}"#),
    ];
    let answers = called(include_str!("captures/v0.14.log"), V0, &from, &calls).await;
    assert_eq!(answers[0].as_deref(), Ok(r#"{"greeting":"Hello John"}"#));
    assert_eq!(answers[1].as_deref(), Ok(r#"{"greeting":"Hello Jane"}"#));
    assert_eq!(answers[2], Err(Fault::bad_request("greeter.hello", "bad name")));
    assert_eq!(answers[3].as_ref().unwrap_err().code, 501);
}

#[tokio::test]
async fn streams_of_every_version_end_where_their_server_says() {
    for (log, name, labels) in [
        (include_str!("captures/v0.14.log"), "v0.14 stream", V0),
        (include_str!("captures/v6.10.log"), "v6 stream", V6),
    ] {
        let all = exchanges(log);
        let recording = named(&all, &[name])[0];
        let mut server = recorded(vec![recording.answered.clone()]).await;
        let client = client(server.address, labels).await;
        let requests = stream::iter(["a", "b"]).map(|name| json!({ "name": name }));
        let answers = client.stream_json("Greeter.Stream", HeaderMap::new(), requests).await.unwrap();
        let answers: Vec<_> = answers.map(|answer| answer.unwrap()["greeting"].clone()).collect().await;
        assert_eq!(answers, ["s-a", "s-b"], "{name}");
        let said = String::from_utf8(server.heard.recv().await.unwrap()).unwrap();
        assert_eq!(said.contains("Micro-Stream: "), name.starts_with("v6"), "{said}");
    }
}

#[tokio::test]
async fn a_stream_whose_connection_breaks_is_an_error() {
    let all = exchanges(include_str!("captures/v1.0.0.log"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(listener.local_addr().unwrap(), &[("protocol", "mucp"), ("server", "rpc")]).await;
    let answered = named(&all, &["v1.0.0 stream"])[0].answered.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answered = answered.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 64 << 10];
                if stream.read(&mut bytes).await.unwrap_or(0) > 0 {
                    stream.write_all(&answered).await.unwrap();
                }
            });
        }
    });
    let requests = stream::iter([json!({ "name": "a" })]).chain(stream::pending());
    let mut answers = client.stream_json("Greeter.Stream", HeaderMap::new(), requests).await.unwrap();
    for greeting in ["s-a", "s-b"] {
        assert_eq!(answers.next().await.unwrap().unwrap()["greeting"], greeting);
    }
    assert_eq!(answers.next().await.unwrap().unwrap_err().code, 503);
}
