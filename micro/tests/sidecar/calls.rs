//! Calls through the sidecar: `/rpc`, by path, over a WebSocket, and requests passed on.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::echo::echo;
use crate::face::Face;
use crate::program::Place;

const JSON: &str = "content-type: application/json\r\n";

#[test]
fn methods_are_called_by_body_and_by_path() {
    let place = Place::new();
    let _echo = echo(&place);
    let face = Face::of(&place, "sidecar", &[]);
    let cases = [
        ("/rpc", JSON, r#"{"service":"echo","method":"Echo.Unary","request":{"text":"hi"}}"#),
        (
            "/rpc",
            JSON,
            r#"{"Service":"echo","Endpoint":"Echo.Unary","request":"{\"text\":\"hi\"}","address":"echo-1"}"#,
        ),
        (
            "/rpc",
            "content-type: application/x-www-form-urlencoded\r\n",
            "service=echo&method=Echo.Unary&request={\"text\":\"hi\"}",
        ),
        ("/echo/unary", JSON, r#"{"text":"hi"}"#),
        ("/echo/echo/unary", "", r#"{"text":"hi"}"#),
    ];
    for (path, headers, body) in cases {
        let answer = face.ask("POST", path, headers, body.as_bytes());
        assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"text":"hi"}"#), "{path} {body}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[test]
fn a_call_takes_no_longer_than_the_seconds_that_its_timeout_says() {
    let place = Place::new();
    let _echo = echo(&place);
    let slow = br#"{"service":"echo","method":"Echo.Slow","request":{"number":"60000"}}"#;
    for name in ["api", "sidecar"] {
        let face = Face::of(&place, name, &[]);
        let began = Instant::now();
        let answer = face.ask("POST", "/rpc", &format!("{JSON}timeout: 1\r\n"), slow);
        assert_eq!((answer.status, &answer.json()["code"]), (504, &504.into()), "{name}: {answer:?}");
        let took = began.elapsed();
        assert!((Duration::from_secs(1)..Duration::from_secs(20)).contains(&took), "{name}: {took:?}");
    }
}

#[test]
fn what_cannot_be_called_is_an_error_in_json() {
    let place = Place::new();
    let _echo = echo(&place);
    let face = Face::of(&place, "sidecar", &[]);
    let cases = [
        ("{}", 400, "invalid service"),
        (r#"{"service":"echo"}"#, 400, "invalid method"),
        (r#"{"service":"nobody","method":"A.B"}"#, 404, "nobody"),
        (r#"{"service":"echo","method":"Echo.Unary","request":{"none":1}}"#, 400, "none"),
        (r#"{"service":"echo","method":"Echo.Fail","request":{"number":"5"}}"#, 404, ""),
    ];
    for (body, status, detail) in cases {
        let answer = face.ask("POST", "/rpc", JSON, body.as_bytes());
        let fault = answer.json();
        assert_eq!(
            (answer.status, fault["code"].as_u64()),
            (status, Some(u64::from(status))),
            "{body}: {fault}"
        );
        assert!(fault["detail"].as_str().unwrap().contains(detail), "{body}: {fault}");
    }
}

#[test]
fn errors_of_paths_are_the_sidecars() {
    let place = Place::new();
    let _echo = echo(&place);
    let face = Face::of(&place, "sidecar", &["--handler", "rpc"]);
    let cases = [
        ("POST", "/", JSON, 404),
        ("POST", "/nobody/say/hello", JSON, 404),
        ("POST", "/echo/unry", JSON, 404),
        ("POST", "/echo/unary", "content-type: text/csv\r\n", 400),
        ("PUT", "/echo/unary", JSON, 405),
        ("POST", "/echo/%2e%2e/unary", JSON, 400),
    ];
    for (verb, path, headers, status) in cases {
        let fault = face.ask(verb, path, headers, b"{}").json();
        assert_eq!(
            (&fault["id"], &fault["code"]),
            (&"go.micro.sidecar".into(), &status.into()),
            "{path}: {fault}"
        );
    }
}

#[test]
fn a_stream_is_a_line_or_an_event_each() {
    let place = Place::new();
    let _echo = echo(&place);
    let face = Face::of(&place, "sidecar", &[]);
    let lines = face.ask("POST", "/echo/many", JSON, br#"{"number":"3"}"#);
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    let read: Vec<serde_json::Value> =
        lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((read.len(), &read[2]["result"]["number"]), (3, &json!("2")), "{read:?}");
    let accept = format!("{JSON}accept: text/event-stream\r\n");
    let events = face.ask("POST", "/echo/many", &accept, br#"{"number":"2"}"#);
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    assert_eq!(events.text().lines().filter(|line| line.starts_with("data: ")).count(), 2, "{events:?}");
}

#[test]
fn a_websocket_is_a_stream_both_ways() {
    let place = Place::new();
    let runtime = echo(&place);
    let face = Face::of(&place, "sidecar", &[]);
    runtime.block_on(async {
        let url = format!("ws://{}/echo/chat", face.address);
        let (mut socket, _) = connect_async(url).await.unwrap();
        for text in ["one", "two"] {
            socket.send(Message::text(json!({ "text": text }).to_string())).await.unwrap();
            let answer = socket.next().await.unwrap().unwrap().into_text().unwrap();
            assert_eq!(answer.as_str(), json!({ "text": text }).to_string());
        }
        socket.send(Message::text("")).await.unwrap();
        let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("it is closed") };
        assert_eq!(u16::from(frame.code), 1000);

        let url = format!("ws://{}/echo/fail", face.address);
        let (mut socket, _) = connect_async(url).await.unwrap();
        socket.send(Message::text(r#"{"number":"5"}"#)).await.unwrap();
        let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("it is closed") };
        assert_eq!(u16::from(frame.code), 4005, "{frame:?}");
    });
}

#[test]
fn a_plain_program_is_reached_by_its_name() {
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).unwrap_or_default();
                let line =
                    String::from_utf8_lossy(&buffer[..read]).lines().next().unwrap_or_default().to_owned();
                let head =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", line.len());
                let _ = stream.write_all((head + &line).as_bytes());
            });
        }
    });
    let record =
        json!({"name":"plain","nodes":[{"id":"plain-1","address":"127.0.0.1","port":port}]}).to_string();
    assert_eq!(face.ask("POST", "/registry", JSON, record.as_bytes()).status, 200);
    assert_eq!(face.get("/plain/any/path?x=1").text(), "GET /plain/any/path?x=1 HTTP/1.1");
    let posted = face.ask("POST", "/plain/any", JSON, b"{}");
    assert_eq!((posted.status, posted.text().as_str()), (200, "POST /plain/any HTTP/1.1"));
}

#[test]
fn a_websocket_of_a_plain_program_is_reached_by_its_name() {
    let place = Place::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    place.ok(&["register", "chat", "--address", &address, "--ttl", "0"]);
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // One that asks by reflection is no WebSocket.
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() {
                        socket.send(message).await.unwrap();
                    }
                }
            });
        }
    });
    let face = Face::of(&place, "sidecar", &[]);
    runtime.block_on(async {
        let (mut socket, _) = connect_async(format!("ws://{}/chat/any/room", face.address)).await.unwrap();
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
        socket.close(None).await.unwrap();
        assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    });
}

#[test]
fn a_client_of_grpc_calls_through_the_sidecar_with_its_trailers() {
    let place = Place::new();
    let _echo = echo(&place);
    let face = Face::of(&place, "sidecar", &[]);
    let (through, protoset) = (face.address.to_string(), place.path("echo.pb"));
    std::fs::write(&protoset, crate::peer::set()).unwrap();
    let known = ["--protoset", protoset.to_str().unwrap(), "-o", "json", "-v", "-H", "x-token: t"];
    let call =
        |method: &str, request: &str| place.run(&[&["call", &through, method, request], &known[..]].concat());
    let run = call("test.v1.Echo/Unary", r#"{"text":"hi"}"#);
    assert_eq!((run.code, run.out.as_str()), (Some(0), "{\"text\":\"hi\"}\n"), "{run:?}");
    assert!(run.err.contains("header x-token: t"), "{run:?}");
    let run = call("test.v1.Echo/Chat", r#"{"text":"a"}{"text":"b"}"#);
    assert_eq!((run.code, run.out.as_str()), (Some(0), "{\"text\":\"a\"}\n{\"text\":\"b\"}\n"), "{run:?}");
    let run = call("test.v1.Echo/Fail", r#"{"number":"5"}"#);
    assert!(run.code == Some(69) && run.err.contains("NOT_FOUND: as you asked"), "{run:?}");
}
