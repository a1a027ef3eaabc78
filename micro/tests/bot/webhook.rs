//! The webhook: for chats that the bot has no other words for.

use std::net::SocketAddr;
use std::time::Duration;

use micro::bot::webhook::Webhook;
use micro::bot::{Bot, Builder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::chat::registry;
use crate::free::free;
use crate::post::post;

/// Runs `bot` behind a webhook, until the end of the test. Its address, once it listens.
pub(crate) async fn run(bot: Builder) -> SocketAddr {
    let address = free();
    let bot = bot.build(vec![Box::new(Webhook::new("open sesame", address))]).unwrap();
    tokio::spawn(bot.run());
    for _ in 0..1000 {
        if post(address, "/", &[], String::new()).await.is_ok() {
            return address;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody listens on {address}");
}

/// Says `text` as `user`: the status, and the answer.
pub(crate) async fn say(address: SocketAddr, user: &str, id: &str, text: &str) -> (u16, String) {
    let message = json!({ "user": user, "id": id, "text": text });
    ask(address, "Bearer open sesame", message.to_string()).await
}

async fn ask(address: SocketAddr, who: &str, body: String) -> (u16, String) {
    let headers = [("authorization", who.to_owned())];
    let (status, text) = post(address, "/webhook", &headers, body).await.unwrap();
    let said = serde_json::from_str::<Value>(&text).ok();
    let said = said.and_then(|said| said["text"].as_str().map(str::to_owned));
    (status, said.unwrap_or(text))
}

#[tokio::test]
async fn those_who_know_the_token_are_answered_once() {
    let address = run(Bot::builder(registry("webhook").await)).await;
    assert_eq!(say(address, "ann", "1", "ping").await, (200, "pong".to_owned()));
    assert_eq!(say(address, "ann", "1", "ping").await, (204, String::new()), "it was said before");
    assert!(say(address, "ann", "2", "list").await.1.contains("greeter"));
    let message = json!({ "user": "ann", "text": "ping" }).to_string();
    for who in ["", "Bearer open", "Basic open sesame"] {
        assert_eq!(ask(address, who, message.clone()).await.0, 401, "{who:?}");
    }
    assert_eq!(ask(address, "Bearer open sesame", "no json".to_owned()).await.0, 400);
    assert_eq!(ask(address, "Bearer open", "no json".to_owned()).await.0, 401, "strangers are not helped");
    let long = json!({ "user": "ann", "text": "x".repeat(100 << 10) }).to_string();
    assert_eq!(ask(address, "Bearer open sesame", long).await.0, 413);
}

#[tokio::test]
async fn who_does_not_end_what_they_say_is_cut_off() {
    let address = run(Bot::builder(registry("silence").await)).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"POST /webhook HTTP/1.1\r\nhost: bot\r\n").await.unwrap();
    let mut answer = Vec::new();
    // An answer that says so, or none at all; what matters is that the connection ends.
    let ended = timeout(Duration::from_secs(60), slow.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "after a minute it still holds its connection");
}
