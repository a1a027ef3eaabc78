//! Methods by name: served to gRPC and to every version of go-micro, byte for byte, and called.
#![allow(clippy::unwrap_used, clippy::panic)]

mod golden;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use golden::{Exchange, exchanges};
use micro_discover::Memory;
use micro_tower::{
    Fault, Service,
    wire::{self, Requests, Router, both},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

#[derive(Serialize, Deserialize)]
struct Req {
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Rsp {
    greeting: String,
}

/// go-micro's `errors.Error`, which the recordings use as a message.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct Message {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(int32, tag = "2")]
    code: i32,
}

async fn hello(request: Req) -> Result<Rsp, Fault> {
    match request.name.as_str() {
        "err" => Err(Fault::bad_request("greeter.hello", "bad name")),
        "plain" => Err("plain error".into()),
        "panic" => panic!("boom"),
        name => Ok(Rsp { greeting: format!("Hello {name}") }),
    }
}

async fn proto(request: Message) -> Result<Message, Fault> {
    Ok(Message { id: format!("rsp-{}", request.id), code: 0 })
}

/// Two answers to two messages.
async fn twice(requests: Requests<Req>) -> Result<impl Stream<Item = Result<Rsp, Fault>>, Fault> {
    Ok(requests.take(2).map(|request| Ok(Rsp { greeting: format!("s-{}", request?.name) })))
}

/// As many answers as there are requests.
async fn echo(requests: Requests<Req>) -> Result<impl Stream<Item = Result<Rsp, Fault>>, Fault> {
    Ok(requests.map(|request| Ok(Rsp { greeting: request?.name })))
}

fn router() -> Router {
    Router::new()
        .route("Greeter.Hello", hello)
        .route("Greeter.Proto", both(proto))
        .stream("Greeter.Stream", twice)
        .stream("Greeter.Echo", echo)
}

/// A service that ends with the test.
struct Running {
    address: SocketAddr,
    registry: Memory,
    _stop: oneshot::Sender<()>,
}

async fn running(router: Router) -> Running {
    let registry = Memory::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, told) = oneshot::channel();
    let service = Service::builder("greeter")
        .registry(Arc::new(registry.clone()))
        .server(|server| server.propagation(Duration::ZERO))
        .after_start({
            let registry = registry.clone();
            || async move {
                use micro_discover::Registry as _;
                let found = registry.get("greeter").await?;
                let address = found[0].endpoints[0].address.to_string().parse::<SocketAddr>()?;
                let _ = tell.send(address);
                Ok(())
            }
        })
        .wire()
        .build()
        .unwrap();
    tokio::spawn(service.run_until(router, async {
        let _ = stopped.await;
    }));
    Running { address: told.await.unwrap(), registry, _stop: stop }
}

/// Says `bytes` on a connection of their own, and hears as many as `expected` has.
async fn say(address: SocketAddr, bytes: &[u8], expected: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut heard = Vec::new();
    let hear = async { while heard.len() < expected && stream.read_buf(&mut heard).await.unwrap() > 0 {} };
    let _ = tokio::time::timeout(Duration::from_secs(10), hear).await;
    heard
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn replay(log: &str, known: impl Fn(&Exchange) -> Option<Vec<u8>>) {
    let greeter = running(router()).await;
    let mut replayed = 0;
    for exchange in exchanges(log) {
        let Some(expected) = known(&exchange) else { continue };
        let heard = say(greeter.address, &exchange.sent, expected.len()).await;
        assert_eq!(text(&heard), text(&expected), "{}", exchange.name);
        assert_eq!(heard, expected, "{}", exchange.name);
        replayed += 1;
    }
    assert!(replayed >= 6, "{replayed} exchanges");
}

/// `bytes` with one text in place of another, which has to be there.
fn with(bytes: &[u8], changes: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (from, to) in changes {
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes());
        let at = at.unwrap_or_else(|| panic!("{from} is not in {}", text(&bytes)));
        bytes.splice(at..at + from.len(), to.bytes());
    }
    bytes
}

#[tokio::test]
async fn v0_is_answered_as_v0_answers() {
    replay(include_str!("captures/v0.14.log"), |exchange| match exchange.name.as_str() {
        // Its publication is the broker's; its figures are another process's.
        "v0.14 publish (http broker)" | "v0.14 octet-stream Debug.Stats" => None,
        // It cannot answer this, as its codec is pinned to the connection's first message; we can.
        "v0.14 json Debug.Health" => Some(
            "HTTP/1.1 200 OK\r\nContent-Length: 47\r\nAccept: application/json\r\nContent-Type: application/json\r\n\
             Timeout: 5000000000\r\nUser-Agent: Go-http-client/1.1\r\nX-Micro-From-Service: caller\r\nX-Request-Id: \
             abc\r\n\r\n{\"id\":7,\"result\":{\"status\":\"ok\"},\"error\":null}\n"
                .into(),
        ),
        _ => Some(exchange.answered.clone()),
    })
    .await;
}

#[tokio::test]
async fn v1_is_answered_as_v1_answers() {
    replay(include_str!("captures/v1.0.0.log"), |exchange| match exchange.name.as_str() {
        "v1.0.0 publish (http broker)" => None,
        // It answers these two with nothing at all.
        "v1.0.0 octet-stream Debug.Stats" | "v1.0.0 octet-stream (proto-rpc) Debug.Health" => None,
        // Its stream ends with its connection, which its client calls an error; ours says that it has ended.
        "v1.0.0 stream" => {
            let end = "HTTP/1.1 200 OK\r\nContent-Length: 38\r\nAccept: application/json\r\nContent-Type: \
                       application/json-rpc\r\nMicro-Endpoint: Greeter.Stream\r\nMicro-Error: EOS\r\nMicro-Method: \
                       Greeter.Stream\r\nMicro-Service: greeter\r\nTimeout: 5000000000\r\nUser-Agent: \
                       Go-http-client/1.1\r\nX-Micro-Endpoint: Greeter.Stream\r\nX-Micro-Error: EOS\r\n\
                       X-Micro-From-Service: caller\r\nX-Micro-Method: Greeter.Stream\r\nX-Micro-Service: \
                       greeter\r\nX-Request-Id: abc\r\n\r\n{\"id\":\"\",\"result\":null,\"error\":\"EOS\"}\n";
            Some([&exchange.answered[..], end.as_bytes()].concat())
        }
        _ => Some(exchange.answered.clone()),
    })
    .await;
}

#[tokio::test]
async fn v6_is_answered_as_v6_answers() {
    replay(include_str!("captures/v6.10.log"), |exchange| {
        let answered = &exchange.answered;
        // Where it echoes the headers of an earlier call on the connection, we echo those of this one.
        let stale = [
            ("Accept: application/protobuf", "Accept: application/json-rpc"),
            ("Greeter.Proto", "Greeter.Hello"),
            ("Greeter.Proto", "Greeter.Hello"),
        ];
        match exchange.name.as_str() {
            "v6 json call again (pooled conn)" => Some(with(answered, &[("Micro-Id: 0", "Micro-Id: 1")])),
            "v6 json-rpc call" => Some(with(answered, &stale)),
            "v6 proto-rpc call" => Some(with(answered, &[("Accept: application/protobuf", "Accept: application/proto-rpc")])),
            "v6 unsupported ct" | "v6 publish via http broker" => None,
            // It does not answer at all.
            "v6 panic" => Some(
                "HTTP/1.1 200 OK\r\nAccept: application/json\r\nContent-Type: application/json\r\nMicro-Endpoint: \
                 Greeter.Hello\r\nMicro-Error: {\"id\":\"go.micro.server\",\"code\":500,\"detail\":\"panic recovered: \
                 boom\",\"status\":\"Internal Server Error\"}\r\nMicro-From-Service: caller\r\nMicro-Id: 10\r\n\
                 Micro-Method: Greeter.Hello\r\nMicro-Service: greeter\r\nTimeout: 1000000000\r\nUser-Agent: \
                 Go-http-client/1.1\r\nX-Micro-Error: {\"id\":\"go.micro.server\",\"code\":500,\"detail\":\"panic \
                 recovered: boom\",\"status\":\"Internal Server Error\"}\r\nX-Request-Id: abc\r\nContent-Length: 0\r\n\r\n"
                    .into(),
            ),
            _ => Some(answered.clone()),
        }
    })
    .await;
}

/// R4 of go-micro: a panic gives no answer. R7: an error closes the connection. R9: the first message of a connection
/// chooses the codec of all.
#[tokio::test]
async fn one_connection_carries_every_codec_and_outlives_errors() {
    let greeter = running(router()).await;
    let post = |head: &str, body: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n{head}\r\n\r\n{body}", body.len())
    };
    let json = "Content-Type: application/json\r\nMicro-Service: greeter\r\nMicro-Method: Greeter.Hello\r\nmicro-id: 1";
    let mut stream = TcpStream::connect(greeter.address).await.unwrap();
    for (request, answer) in [
        (post(json, r#"{"name":"err"}"#), "bad name"),
        (post(json, r#"{"name":"panic"}"#), "panic recovered: boom"),
        (post(json, "{"), "rpc: router cannot decode request: "),
        (
            post(
                "Content-Type: application/json",
                r#"{"method":"Greeter.Hello","params":[{"name":"v0"}],"id":3}"#,
            ),
            "Hello v0",
        ),
        (
            post(
                "Content-Type: application/octet-stream",
                "\0\0\0\x17\n\x0cDebug.Health\x11\x05\0\0\0\0\0\0\0\0\0\0\0",
            ),
            "\x02ok",
        ),
        (
            post("Content-Type: application/octet-stream", "\0\0\0\x17\n"),
            "rpc: server cannot decode request: ",
        ),
        (
            post("Content-Type: text/xml\r\nMicro-Method: Greeter.Hello", ""),
            "unsupported Content-Type: text/xml",
        ),
        (post(json, r#"{"name":"v6"}"#), r#"{"greeting":"Hello v6"}"#),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "404 Not Found"),
        (post(json, r#"{"name":"after HTTP"}"#), "Hello after HTTP"),
    ] {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        while !text(&heard).contains(answer) {
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read_buf(&mut heard)).await;
            assert!(read.is_ok_and(|read| read.unwrap() > 0), "{answer}: {}", text(&heard));
        }
    }
}

#[tokio::test]
async fn an_event_reaches_who_subscribes_to_its_topic_and_the_caller_hears_of_errors() {
    let (seen, mut events) = tokio::sync::mpsc::unbounded_channel();
    let created = move |request: Req| {
        let seen = seen.clone();
        async move {
            let name = request.name;
            if name == "err" {
                return Err(Fault::bad_request("orders", "bad name"));
            }
            seen.send(name).unwrap();
            Ok(json!(null))
        }
    };
    let greeter = running(router().event("orders.created", created)).await;
    let post = |topic: &str, body: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nMicro-Topic: {topic}\r\n\
             Micro-Id: {topic}{body}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let mut stream = TcpStream::connect(greeter.address).await.unwrap();
    for (request, answer) in [
        (post("orders.created", r#"{"name":"one"}"#), "micro-topic: orders.created"),
        (post("orders.created", r#"{"name":"err"}"#), "bad name"),
        (post("orders.created", r#"{"name":"two"}"#), "micro-topic: orders.created"),
        (post("orders.paid", r#"{"name":"x"}"#), "rpc: nobody subscribes to orders.paid here"),
    ] {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        while !text(&heard).to_lowercase().contains(answer) || !text(&heard).contains("\r\n\r\n") {
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read_buf(&mut heard)).await;
            assert!(read.is_ok_and(|read| read.unwrap() > 0), "{answer}: {}", text(&heard));
        }
        let heard = text(&heard);
        assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
        let is_fault = answer == "bad name" || answer.starts_with("rpc: ");
        assert_eq!(heard.to_lowercase().contains("micro-error: "), is_fault, "{heard}");
    }
    assert_eq!((events.recv().await.unwrap(), events.recv().await.unwrap()), ("one".into(), "two".into()));
}

#[tokio::test]
async fn a_service_is_called_in_json_by_name() {
    let greeter = running(router()).await;
    let caller = Service::builder("caller").registry(Arc::new(greeter.registry.clone())).build().unwrap();
    let client = wire::Client::new(caller.client("greeter"));
    let answer = client.call_json("Greeter.Hello", json!({ "name": "John" })).await.unwrap();
    assert_eq!(answer, json!({ "greeting": "Hello John" }));
    let health = client.call_json("Debug.Health", json!({})).await.unwrap();
    assert_eq!(health, json!({ "status": "ok" }));
    let fault = client.call_json("Greeter.Hello", json!({ "name": "err" })).await.unwrap_err();
    assert_eq!(fault, Fault::bad_request("greeter.hello", "bad name"));
    let fault = client.call_json("Greeter.Hello", json!({ "name": "panic" })).await.unwrap_err();
    assert_eq!((fault.code, fault.detail.as_str()), (500, "panic recovered: boom"));
    let fault = client.call_json("Greeter.Nope", json!({})).await.unwrap_err();
    assert_eq!((fault.code, fault.detail.as_str()), (501, "rpc: can't find method Nope"));
    let names = stream::iter(["a", "b", "c"]).map(|name| json!({ "name": name }));
    let answers = client.stream_json("Greeter.Echo", http::HeaderMap::new(), names).await.unwrap();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap()["greeting"].clone()).collect().await;
    assert_eq!(answers, ["a", "b", "c"]);
}

/// A server of go-micro's that lets nobody call anything but `Svc.Call`, and says so of all else.
async fn guarded() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let (mut line, mut length, mut may) = (String::new(), 0, false);
                while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                    let said = std::mem::take(&mut line).to_ascii_lowercase();
                    may |= said.trim() == "micro-endpoint: svc.call";
                    if let Some(all) = said.strip_prefix("content-length: ") {
                        length = all.trim().parse().unwrap();
                    }
                    if said != "\r\n" {
                        continue;
                    }
                    stream.read_exact(&mut vec![0; length]).await.unwrap();
                    let error = r#"micro-error: {"id":"auth","code":403,"detail":"who are you"}"#;
                    let answer = match std::mem::take(&mut may) {
                        true => "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"ok\":true}".to_owned(),
                        false => format!("HTTP/1.1 200 OK\r\n{error}\r\ncontent-length: 0\r\n\r\n"),
                    };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn the_first_call_of_a_service_that_lets_nobody_ask_what_it_is_is_made_too() {
    let (registry, address) = (Memory::default(), guarded().await);
    let mut endpoint = micro_discover::Endpoint::new("it", address.to_string().parse().unwrap());
    endpoint.metadata.insert("protocol".into(), "mucp".into());
    let mut service = micro_discover::Service::new("svc");
    service.endpoints.push(endpoint);
    micro_discover::Registry::announce(&registry, &service, Duration::ZERO).await.unwrap();
    let client = wire::Client::new(micro_tower::Client::builder("svc", Arc::new(registry)).build());
    assert_eq!(client.call_json("Svc.Call", json!({})).await.unwrap(), json!({ "ok": true }));
    let fault = client.call_json("Svc.Other", json!({})).await.unwrap_err();
    assert_eq!((fault.code, fault.detail.as_str()), (403, "who are you"));
}

/// A gRPC request with one message.
fn grpc_request(path: &str, content_type: &str, message: &[u8]) -> http::Request<tonic::body::Body> {
    let body = http_body_util::Full::new(micro_tower::codec::frame::encode(message));
    http::Request::post(path).header("content-type", content_type).body(tonic::body::Body::new(body)).unwrap()
}

async fn answer(
    router: &Router,
    request: http::Request<tonic::body::Body>,
) -> (Vec<Vec<u8>>, http::HeaderMap) {
    let response = tower::ServiceExt::oneshot(router.clone(), request).await.unwrap();
    let (head, body) = response.into_parts();
    let mut frames = micro_tower::codec::frame::Frames::new(body, 1 << 20);
    let mut messages = Vec::new();
    while let Some(message) = frames.next().await {
        messages.push(message.unwrap().to_vec());
    }
    (messages, frames.trailers().cloned().unwrap_or(head.headers))
}

#[tokio::test]
async fn a_handler_speaks_grpc_in_the_formats_its_types_have() {
    let router = router();
    for path in ["/Greeter/Hello", "/greeter.Greeter/Hello", "/a.b.Greeter/Hello"] {
        let request = grpc_request(path, "application/grpc+json", br#"{"name":"John"}"#);
        let (messages, trailers) = answer(&router, request).await;
        assert_eq!(
            (text(&messages[0]).as_str(), &trailers["grpc-status"]),
            (r#"{"greeting":"Hello John"}"#, &"0".parse().unwrap())
        );
    }
    let request = grpc_request("/greeter.Greeter/Proto", "application/grpc", b"\n\x03abc");
    assert_eq!(answer(&router, request).await.0, [b"\n\x07rsp-abc"]);
    for (path, content_type, message, code, says) in [
        (
            "/greeter.Greeter/Hello",
            "application/grpc",
            &b"\n\x03abc"[..],
            "12",
            "unsupported Content-Type: application/proto",
        ),
        ("/greeter.Greeter/Proto", "application/grpc", b"\xff", "3", "router cannot decode request"),
        (
            "/greeter.Greeter/Hello",
            "application/grpc+json",
            br#"{"name":"panic"}"#,
            "13",
            "panic recovered: boom",
        ),
        ("/greeter.Greeter/Hello", "application/grpc+json", br#"{"name":"err"}"#, "3", "bad name"),
        ("/greeter.Greeter/Nope", "application/grpc+json", b"{}", "12", "can't find method Nope"),
        ("/greeter.Nope/Nope", "application/grpc+json", b"{}", "12", "can't find service Nope"),
    ] {
        let (messages, trailers) = answer(&router, grpc_request(path, content_type, message)).await;
        assert!(messages.is_empty(), "{path}");
        let status = tonic::Status::from_header_map(&trailers).unwrap();
        assert_eq!(trailers["grpc-status"], code, "{status}");
        assert!(status.message().contains(says), "{status}");
    }
}

#[tokio::test]
async fn long_messages_are_compressed_for_those_who_read_it() {
    let json = json!({ "name": "a".repeat(100_000) }).to_string();
    let mut request = grpc_request("/Greeter/Hello", "application/grpc+json", b"");
    request.headers_mut().insert("grpc-accept-encoding", "gzip".parse().unwrap());
    request.headers_mut().insert("grpc-encoding", "gzip".parse().unwrap());
    *request.body_mut() = tonic::body::Body::new(http_body_util::Full::new(
        micro_tower::codec::frame::encode_compressed(json.as_bytes()),
    ));
    let response = tower::ServiceExt::oneshot(router(), request).await.unwrap();
    assert_eq!(response.headers()["grpc-encoding"], "gzip");
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert!(body.len() < 10_000 && body[0] == 1, "{}", body.len());
}

#[tokio::test]
async fn a_message_over_http2_is_answered_without_a_connection_of_its_own() {
    let request = http::Request::post("/")
        .header("content-type", "application/json")
        .header("x-micro-method", "Greeter.Hello")
        .header("MICRO-ID", "7")
        .header("x-tenant", "a")
        .header("connection", "close")
        .body(tonic::body::Body::new(String::from(r#"{"name":"John"}"#)))
        .unwrap();
    let response = tower::ServiceExt::oneshot(router(), request).await.unwrap();
    assert_eq!(
        (&response.headers()["micro-id"], &response.headers()["x-tenant"]),
        (&"7".parse().unwrap(), &"a".parse().unwrap())
    );
    assert!(!response.headers().contains_key("connection"));
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert_eq!(text(&body), "{\"greeting\":\"Hello John\"}\n");
}

#[tokio::test]
async fn figures_are_numbered_as_the_callers_version_does() {
    let greeter = running(router()).await;
    let post = |content_type: &str, body: &[u8]| {
        let head = format!(
            "POST / HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let v0 = post("application/octet-stream", b"\0\0\0\x16\n\x0bDebug.Stats\x11\x06\0\0\0\0\0\0\0\0\0\0\0");
    let heard = say(greeter.address, &v0, usize::MAX).await;
    let body = &heard[heard.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4..];
    // The header is echoed, then comes started=1, seconds since 1970.
    assert_eq!(&body[..28], b"\0\0\0\x18\n\x0bDebug.Stats\x11\x06\0\0\0\0\0\0\0\x1a\0");
    assert_eq!(body[32], 8);
    let v6 = post("application/json\r\nMicro-Method: Debug.Stats", b"{}");
    let heard = text(&say(greeter.address, &v6, usize::MAX).await);
    for name in ["timestamp", "started", "uptime", "memory", "threads", "gc", "requests", "errors"] {
        assert!(heard.contains(&format!("\"{name}\":")), "{heard}");
    }
}

/// R31 of go-micro: what a call holds is let go only when its connection ends.
#[tokio::test]
async fn a_caller_that_hangs_up_ends_its_calls() {
    let (began, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let route = move |_: Req| {
        let (held, watched) = oneshot::channel::<()>();
        began.send(watched).unwrap();
        async move {
            let _held = held;
            std::future::pending::<Result<Rsp, Fault>>().await
        }
    };
    let greeter = running(Router::new().route("Greeter.Wait", route)).await;
    let mut stream = TcpStream::connect(greeter.address).await.unwrap();
    let post = "POST / HTTP/1.1\r\nContent-Type: application/json\r\nMicro-Method: Greeter.Wait\r\nContent-Length: 12\r\n\r\n{\"name\":\"a\"}";
    stream.write_all(post.as_bytes()).await.unwrap();
    let held = begun.recv().await.unwrap();
    drop(stream);
    let ended = tokio::time::timeout(Duration::from_secs(10), held).await.unwrap();
    assert!(ended.is_err(), "the handler was dropped");
}

/// R30 of go-micro: attempts go on after the caller was told that time is up.
#[tokio::test]
async fn a_timeout_in_nanoseconds_ends_a_call() {
    let waits = |_: Req| std::future::pending::<Result<Rsp, Fault>>();
    let greeter = running(Router::new().route("Greeter.Wait", waits)).await;
    let post = "POST / HTTP/1.1\r\nContent-Type: application/json\r\nMicro-Method: Greeter.Wait\r\nTimeout: 20000000\r\n\
                Content-Length: 12\r\nConnection: close\r\n\r\n{\"name\":\"a\"}";
    let heard = text(&say(greeter.address, post.as_bytes(), usize::MAX).await);
    assert!(
        heard.contains("\"code\":408,\"detail\":\"the deadline has passed\",\"status\":\"Request Timeout\""),
        "{heard}"
    );
}

#[tokio::test]
async fn streams_of_one_connection_are_told_apart() {
    let greeter = running(router()).await;
    let post = |id: u8, rest: &str, body: &str| {
        format!(
            "POST / HTTP/1.1\r\nContent-Type: application/json\r\nMicro-Method: Greeter.Echo\r\nMicro-Id: {id}\r\n\
             Micro-Stream: {id}\r\nContent-Length: {}\r\n{rest}\r\n{body}",
            body.len()
        )
    };
    let end = "Micro-Error: EOS\r\n";
    let said = [
        post(1, "", "{}"),
        post(2, "", "{}"),
        post(2, "", r#"{"name":"two-a"}"#),
        post(1, "", r#"{"name":"one-a"}"#),
        post(2, "", r#"{"name":"two-b"}"#),
        post(2, end, ""),
        post(1, end, ""),
    ]
    .concat();
    let mut stream = TcpStream::connect(greeter.address).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    while text(&heard).matches("\r\nMicro-Error: EOS").count() < 2 {
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_buf(&mut heard)).await;
        assert!(read.is_ok_and(|read| read.unwrap() > 0), "{}", text(&heard));
    }
    let heard = text(&heard);
    let of = |id: u8| {
        let answers =
            heard.split("HTTP/1.1 200 OK\r\n").filter(|it| it.contains(&format!("Micro-Stream: {id}\r\n")));
        answers.map(|it| it.rsplit("\r\n\r\n").next().unwrap().trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(1), [r#"{"greeting":"one-a"}"#, ""]);
    assert_eq!(of(2), [r#"{"greeting":"two-a"}"#, r#"{"greeting":"two-b"}"#, ""]);
}

#[tokio::test]
async fn a_service_is_announced_in_go_micros_words() {
    use micro_discover::Registry as _;
    let greeter = running(router()).await;
    let found = greeter.registry.get("greeter").await.unwrap();
    let labels = &found[0].endpoints[0].metadata;
    for (name, value) in [("protocol", "mucp"), ("server", "mucp"), ("transport", "http")] {
        assert_eq!(labels[name], value);
    }
}
