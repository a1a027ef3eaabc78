//! A stand-in of Slack that speaks the documented protocol of Socket Mode and of the Events API.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::{any, post};
use axum::{Json, Router};
use http::HeaderMap;
use micro::bot::slack::{Api, Events, Socket};
use micro::bot::{Bot, Input};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::chat::registry;

/// What the stand-in sends over each socket, and what it is told.
#[derive(Clone)]
struct Stand {
    address: SocketAddr,
    /// A script for each socket that is opened.
    sockets: Arc<Mutex<Vec<Vec<Value>>>>,
    told: mpsc::UnboundedSender<(String, Value)>,
}

async fn stand(sockets: Vec<Vec<Value>>) -> (Stand, mpsc::UnboundedReceiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (told, heard) = mpsc::unbounded_channel();
    let address = listener.local_addr().unwrap();
    let stand = Stand { address, sockets: Arc::new(Mutex::new(sockets)), told };
    let routes = Router::new()
        .route("/api/auth.test", post(|| async { Json(json!({ "ok": true, "user_id": "BOT" })) }))
        .route("/api/apps.connections.open", post(open))
        .route("/api/chat.postMessage", post(message))
        .route("/socket", any(socket))
        .with_state(stand.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (stand, heard)
}

async fn open(State(stand): State<Stand>, headers: HeaderMap) -> Json<Value> {
    assert_eq!(headers["authorization"], "Bearer xapp-1");
    Json(json!({ "ok": true, "url": format!("ws://{}/socket", stand.address) }))
}

async fn message(State(stand): State<Stand>, headers: HeaderMap, Json(message): Json<Value>) -> Json<Value> {
    assert_eq!(headers["authorization"], "Bearer xoxb-1");
    stand.told.send(("message".into(), message)).unwrap();
    Json(json!({ "ok": true }))
}

async fn socket(State(stand): State<Stand>, upgrade: WebSocketUpgrade) -> axum::response::Response {
    upgrade.on_upgrade(|socket| play(stand, socket))
}

async fn play(stand: Stand, mut socket: WebSocket) {
    let script = {
        let mut sockets = stand.sockets.lock().unwrap();
        if sockets.is_empty() { Vec::new() } else { sockets.remove(0) }
    };
    for envelope in script {
        let waits = envelope.get("envelope_id").is_some();
        socket.send(Message::text(envelope.to_string())).await.unwrap();
        if waits {
            let Some(Ok(Message::Text(ack))) = socket.recv().await else { return };
            stand.told.send(("ack".into(), serde_json::from_str(&ack).unwrap())).unwrap();
        }
    }
    while let Some(Ok(_)) = socket.recv().await {}
}

fn said(envelope: &str, ts: &str, text: &str) -> Value {
    let event = json!({ "type": "message", "user": "U1", "channel": "C1", "ts": ts, "text": text });
    json!({ "type": "events_api", "envelope_id": envelope, "payload": { "event_id": envelope, "event": event } })
}

/// Takes what the stand-in is told until it has `messages` messages.
async fn take(
    heard: &mut mpsc::UnboundedReceiver<(String, Value)>,
    messages: usize,
) -> (Vec<Value>, Vec<String>) {
    let (mut acks, mut texts) = (Vec::new(), Vec::new());
    while texts.len() < messages {
        let next = tokio::time::timeout(Duration::from_secs(20), heard.recv()).await;
        let (what, value) = next.unwrap_or_else(|_| panic!("only {texts:?}")).unwrap();
        if what == "ack" {
            acks.push(value["envelope_id"].clone());
        } else {
            assert_eq!(value["channel"], "C1");
            texts.push(value["text"].as_str().unwrap().to_owned());
        }
    }
    (acks, texts)
}

async fn run(name: &str, input: impl Input) -> tokio::task::JoinHandle<()> {
    let bot = Bot::builder(registry(name).await).build(vec![Box::new(input)]).unwrap();
    tokio::spawn(bot.run())
}

#[tokio::test]
async fn socket_mode_answers_once_whatever_comes_twice_and_connects_again() {
    let hello = json!({ "type": "hello" });
    let first = vec![
        hello.clone(),
        json!({ "type": "tomorrow's news" }),
        said("e1", "1.1", "<@BOT> ping"),
        said("e2", "1.1", "<@BOT> ping"),
        said("e3", "1.2", "just talk"),
        json!({ "type": "disconnect", "reason": "refresh_requested" }),
    ];
    // What was not acknowledged in time comes again, on the next socket as well, and not in order.
    let second = vec![
        hello,
        said("e4", "1.4", "<@BOT> echo <later"),
        said("e1", "1.1", "<@BOT> ping"),
        said("e5", "1.3", "<@BOT> list"),
    ];
    let (stand, mut heard) = stand(vec![first, second]).await;
    let api = Api::at(&format!("http://{}/api", stand.address), "xoxb-1").unwrap();
    let bot = run("socket", Socket::new(api, "xapp-1")).await;
    let (acks, mut texts) = take(&mut heard, 3).await;
    assert!(acks.len() >= 4, "{acks:?}");
    texts.sort();
    assert_eq!(texts[0], "<@U1>: &lt;later");
    assert!(texts[1].starts_with("<@U1>: ```") && texts[1].contains("greeter"), "{texts:?}");
    assert_eq!(texts[2], "<@U1>: pong");
    let more = tokio::time::timeout(Duration::from_millis(300), take(&mut heard, 1)).await;
    assert!(more.is_err(), "nothing is answered twice: {more:?}");
    bot.abort();
}

#[tokio::test]
async fn the_events_api_takes_only_what_is_signed() {
    let (stand, mut heard) = stand(Vec::new()).await;
    let api = Api::at(&format!("http://{}/api", stand.address), "xoxb-1").unwrap();
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let bot = run("events", Events::new(api, "secret", address)).await;
    let body = |value: &Value| value.to_string();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let challenge = json!({ "type": "url_verification", "challenge": "c-1" });
    let event = said("e1", "1.1", "<@BOT> ping")["payload"].clone();
    let post = |body: String, signature: String| async move {
        for _ in 0..100 {
            if let Ok(answer) = crate::post::post(
                address,
                "/slack/events",
                &[("x-slack-request-timestamp", now.to_string()), ("x-slack-signature", signature.clone())],
                body.clone(),
            )
            .await
            {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody listens");
    };
    let sign = |body: &str| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"secret");
        let tag = ring::hmac::sign(&key, format!("v0:{now}:{body}").as_bytes());
        tag.as_ref().iter().fold("v0=".to_owned(), |text, byte| format!("{text}{byte:02x}"))
    };
    assert_eq!(post(body(&challenge), sign(&body(&challenge))).await, (200, "c-1".to_owned()));
    assert_eq!(post(body(&event), "v0=00".to_owned()).await.0, 401);
    let whole = json!({ "type": "event_callback", "event": event["event"] });
    assert_eq!(post(body(&whole), sign(&body(&whole))).await.0, 200);
    assert_eq!(
        post(body(&whole), sign(&body(&whole))).await.0,
        200,
        "Slack sends again what it is not sure of"
    );
    assert_eq!(take(&mut heard, 1).await.1, ["<@U1>: pong"]);
    bot.abort();
}
