//! A stand-in of Slack that speaks the documented protocol of Socket Mode and of the Events API.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::{Form, Json, Router};
use http::{HeaderMap, StatusCode};
use micro::bot::slack::{Api, Events, Socket};
use micro::bot::{Audit, Bot, Input, Rights};
use micro_discover::{Endpoint, Service};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::chat::{Log, registry};
use crate::free::free;

/// What the stand-in sends over each socket, and what it is told.
#[derive(Clone)]
struct Stand {
    address: SocketAddr,
    /// A script for each socket that is opened.
    sockets: Arc<Mutex<Vec<Vec<Value>>>>,
    told: mpsc::UnboundedSender<(String, Value)>,
    /// Whether somebody was told to come again later.
    put_off: Arc<AtomicBool>,
}

async fn stand(sockets: Vec<Vec<Value>>) -> (Stand, mpsc::UnboundedReceiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (told, heard) = mpsc::unbounded_channel();
    let address = listener.local_addr().unwrap();
    let stand = Stand { address, sockets: Arc::new(Mutex::new(sockets)), told, put_off: Arc::default() };
    let routes = Router::new()
        .route("/api/auth.test", post(|| async { Json(json!({ "ok": true, "user_id": "BOT" })) }))
        .route("/api/apps.connections.open", post(open))
        .route("/api/chat.postMessage", post(message))
        .route("/api/files.getUploadURLExternal", post(place))
        .route("/upload/{id}", post(upload))
        .route("/api/files.completeUploadExternal", post(complete))
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
    if message["text"].as_str().is_some_and(|text| text.ends_with("never taken")) {
        std::future::pending::<()>().await;
    }
    stand.told.send(("message".into(), message)).unwrap();
    Json(json!({ "ok": true }))
}

/// A place for a file, by the form that Slack wants; put off once, as Slack does who is asked too much.
async fn place(
    State(stand): State<Stand>,
    headers: HeaderMap,
    Form(file): Form<HashMap<String, String>>,
) -> Response {
    assert_eq!(headers["authorization"], "Bearer xoxb-1");
    if !stand.put_off.swap(true, Relaxed) {
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response();
    }
    stand.told.send(("place".into(), json!({ "name": file["filename"], "length": file["length"] }))).unwrap();
    let url = format!("http://{}/upload/F1", stand.address);
    Json(json!({ "ok": true, "upload_url": url, "file_id": "F1" })).into_response()
}

async fn upload(State(stand): State<Stand>, headers: HeaderMap, body: String) {
    assert!(!headers.contains_key("authorization"), "the token is for Slack's methods alone");
    stand.told.send(("file".into(), body.into())).unwrap();
}

async fn complete(State(stand): State<Stand>, Json(done): Json<Value>) -> Json<Value> {
    stand.told.send(("complete".into(), done)).unwrap();
    Json(json!({ "ok": true, "files": [{ "id": "F1" }] }))
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
        let next = tokio::time::timeout(Duration::from_secs(45), heard.recv()).await;
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
async fn what_finds_no_room_is_counted_and_the_rest_is_answered() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    // This test's alone, which runs on one thread.
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut script = vec![json!({ "type": "hello" })];
    for number in 0..300 {
        let mut said = said(&format!("e{number}"), &format!("1.{number}"), "<@BOT> echo never taken");
        said["payload"]["event"]["user"] = format!("U{number}").into();
        script.push(said);
    }
    let (stand, mut heard) = stand(vec![script]).await;
    let api = Api::at(&format!("http://{}/api", stand.address), "xoxb-1").unwrap();
    let bot = run("full", Socket::new(api, "xapp-1")).await;
    let acknowledged = async {
        for _ in 0..300 {
            heard.recv().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), acknowledged).await.unwrap();
    let lost = "micro_bot_lost_total{input=\"slack\"} 44";
    let counted = async {
        while !figures.render().lines().any(|line| line == lost) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let counted = tokio::time::timeout(Duration::from_secs(10), counted).await;
    assert!(counted.is_ok(), "{}", figures.render());
    bot.abort();
}

#[tokio::test]
async fn a_slow_command_does_not_keep_it_from_connecting_again() {
    let hello = json!({ "type": "hello" });
    let disconnect = json!({ "type": "disconnect", "reason": "refresh_requested" });
    let first = vec![hello.clone(), said("e1", "1.1", "<@BOT> watch"), disconnect];
    let second = vec![hello, said("e2", "1.2", "<@BOT> ping")];
    let (stand, mut heard) = stand(vec![first, second]).await;
    let api = Api::at(&format!("http://{}/api", stand.address), "xoxb-1").unwrap();
    let bot = Bot::builder(registry("refreshed").await).limit(Duration::from_secs(600));
    let bot = bot.build(vec![Box::new(Socket::new(api, "xapp-1"))]).unwrap();
    let bot = tokio::spawn(bot.run());
    assert_eq!(take(&mut heard, 1).await.1, ["<@U1>: pong"]);
    bot.abort();
}

#[tokio::test]
async fn a_long_answer_is_cut_and_whole_in_a_file_of_its_thread() {
    let context = registry("long").await;
    for number in 0..100 {
        let service = Service::new(format!("service-{number}"));
        let service = service.endpoint(Endpoint::new("a", "127.0.0.1:1".parse().unwrap()));
        context.registry().announce(&service, Duration::ZERO).await.unwrap();
    }
    let mut asked = said("e1", "1.1", "<@BOT> list");
    asked["payload"]["event"]["thread_ts"] = "1.0".into();
    let (stand, mut heard) = stand(vec![vec![json!({ "type": "hello" }), asked]]).await;
    let api = Api::at(&format!("http://{}/api", stand.address), "xoxb-1").unwrap();
    let bot = Bot::builder(context).build(vec![Box::new(Socket::new(api, "xapp-1"))]).unwrap();
    let bot = tokio::spawn(bot.run());
    let mut next = async |what: &str| {
        let next = async {
            loop {
                let (told, value) = heard.recv().await.unwrap();
                if told == what {
                    return value;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), next).await.unwrap()
    };
    let message = next("message").await;
    assert_eq!(message["thread_ts"], "1.0");
    let text = message["text"].as_str().unwrap();
    assert!(text.lines().count() <= 42 && text.contains("lines in all"), "{text}");
    let (place, file, done) = (next("place").await, next("file").await, next("complete").await);
    let file = file.as_str().unwrap();
    assert!((0..100).all(|number| file.contains(&format!("service-{number}"))), "{file}");
    assert_eq!(place, json!({ "name": "answer.txt", "length": file.len().to_string() }));
    let files = json!([{ "id": "F1", "title": "answer.txt" }]);
    assert_eq!(
        (&done["files"], &done["channel_id"], &done["thread_ts"]),
        (&files, &"C1".into(), &"1.0".into())
    );
    bot.abort();
}

#[tokio::test]
async fn rights_are_by_user_and_room_and_what_is_said_names_nobody() {
    let rights = Rights::new().read(["#slack:C1"]).unwrap().change(["slack:U1#C1"]).unwrap();
    let elsewhere = |envelope: &str, ts: &str, user: &str, channel: &str, text: &str| {
        let mut said = said(envelope, ts, text);
        said["payload"]["event"]["user"] = user.into();
        said["payload"]["event"]["channel"] = channel.into();
        said
    };
    let script = vec![
        json!({ "type": "hello" }),
        elsewhere("e1", "1.1", "U2", "C1", "<@BOT> deregister greeter --all"),
        elsewhere("e2", "1.2", "U1", "C2", "<@BOT> deregister greeter --all"),
        elsewhere("e3", "1.3", "U2", "C1", "<@BOT> echo &lt;!channel&gt; &lt;@U9&gt; ```"),
        elsewhere("e4", "1.4", "U1", "C1", "<@BOT> deregister greeter --all"),
    ];
    let (stand, mut heard) = stand(vec![script]).await;
    let api = Api::at(&format!("http://{}/api", stand.address), "xoxb-1").unwrap();
    let (context, log) = (registry("slack-rights").await, Log::default());
    let bot = Bot::builder(context.clone()).rights(rights).audit(Audit::new(log.clone()));
    let bot = tokio::spawn(bot.build(vec![Box::new(Socket::new(api, "xapp-1"))]).unwrap().run());
    let mut texts = Vec::new();
    while texts.len() < 4 {
        let told = tokio::time::timeout(Duration::from_secs(60), heard.recv()).await.unwrap().unwrap();
        if told.0 == "message" {
            texts.push(told.1["text"].as_str().unwrap().to_owned());
        }
    }
    let said = |what: &str| texts.iter().any(|text| text.contains(what));
    assert!(said("<@U2>: error executing cmd: you may not deregister"), "{texts:?}");
    assert!(said("<@U1>: you may not use this bot here"), "{texts:?}");
    assert!(said("<@U2>: &lt;!channel&gt; &lt;@U9&gt; ```"), "{texts:?}");
    assert!(context.registry().get("greeter").await.unwrap().is_empty(), "who may has done it");
    // What was answered was written down before.
    let mut lines: Vec<_> = log
        .lines()
        .iter()
        .map(|line| format!("{} {} {}", line["user"], line["room"], line["outcome"]))
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        [r#""U1" "C1" "done""#, r#""U1" "C2" "denied""#, r#""U2" "C1" "denied""#, r#""U2" "C1" "done""#]
    );
    bot.abort();
}

#[tokio::test]
async fn the_events_api_takes_only_what_is_signed() {
    let (stand, mut heard) = stand(Vec::new()).await;
    let api = Api::at(&format!("http://{}/api", stand.address), "xoxb-1").unwrap();
    let address = free();
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
