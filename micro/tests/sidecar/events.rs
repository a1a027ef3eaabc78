//! `/broker`: events in and out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::face::Face;
use crate::listen::Listening;
use crate::program::Place;

fn body(event: &Value) -> Vec<u8> {
    STANDARD.decode(event["Body"].as_str().unwrap()).unwrap()
}

#[test]
fn what_is_posted_is_heard_with_its_headers() {
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &["--broker", "memory:"]);
    let missing = face.ask("POST", "/broker", "", b"x");
    assert_eq!((missing.status, missing.text().trim()), (400, "Topic not specified"));
    assert_eq!(face.get("/broker").status, 400);
    assert_eq!(face.ask("POST", "/broker?topic=a..b", "", b"x").status, 400);

    let mut heard = Listening::start(&face, "/broker?topic=orders.*");
    let headers = "content-type: application/json\r\nx-request-id: r-1\r\nmicro-id: order-7\r\n";
    let posted = face.ask("POST", "/broker?topic=orders.paid", headers, b"{\"n\":7}");
    assert_eq!((posted.status, posted.json()["id"].as_str()), (200, Some("order-7")));
    let event = heard.data();
    assert_eq!(body(&event), b"{\"n\":7}");
    let expected = [
        ("Content-Type", "application/json"),
        ("Micro-ID", "order-7"),
        ("Micro-Topic", "orders.paid"),
        ("X-Request-Id", "r-1"),
    ];
    for (name, value) in expected {
        assert_eq!(event["Header"][name], value, "{event}");
    }
}

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

async fn next(socket: &mut Socket) -> Vec<u8> {
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            return body(&serde_json::from_str(&text).unwrap());
        }
    }
}

#[test]
fn a_socket_hears_others_and_not_itself() {
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &["--broker", "memory:"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("ws://{}/broker?topic=talk", face.address);
        let (mut first, _) = connect_async(&url).await.unwrap();
        let (mut second, _) = connect_async(&url).await.unwrap();
        first.send(Message::text("from the first")).await.unwrap();
        assert_eq!(next(&mut second).await, b"from the first");
        second.send(Message::binary(&b"from the second"[..])).await.unwrap();
        assert_eq!(next(&mut first).await, b"from the second", "and nothing of its own before it");
    });
}

#[test]
fn a_queue_shares_its_events() {
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &["--broker", "memory:"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("ws://{}/broker?topic=work&queue=workers", face.address);
        let (mut first, _) = connect_async(&url).await.unwrap();
        let (mut second, _) = connect_async(&url).await.unwrap();
        for number in 0..10 {
            assert_eq!(face.ask("POST", "/broker?topic=work", "", number.to_string().as_bytes()).status, 200);
        }
        let mut got = Vec::new();
        while got.len() < 10 {
            let body = tokio::select! { body = next(&mut first) => body, body = next(&mut second) => body };
            got.push(String::from_utf8(body).unwrap().parse::<u32>().unwrap());
        }
        got.sort_unstable();
        assert_eq!(got, (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn pings_of_a_client_that_reads_nothing_are_not_all_answered() {
    use std::io::{Read, Write};
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &["--broker", "memory:"]);
    for path in ["/broker?topic=talk", "/registry"] {
        let (mut stream, before) = (face.connect(), face.memory());
        let asks = format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        stream.write_all(asks.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101", "{path}");
        stream.set_write_timeout(Some(std::time::Duration::from_secs(3))).unwrap();
        // A ping of 125 bytes, masked with nothing.
        let pings = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'x'; 125]].concat().repeat(1000);
        let sent = (0..1000).take_while(|_| stream.write_all(&pings).is_ok()).count();
        let grown = face.memory().saturating_sub(before);
        assert!(sent < 1000 && grown < 32 << 20, "{path}: {sent} thousand taken, {grown} bytes more");
    }
}
