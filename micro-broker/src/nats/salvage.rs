//! Finds the event whose headers the client cannot read.
//!
//! The client gives up its connection over such a one, and the server would send it again on the next, for ever: not an
//! event would be handled in peace again. What is read here comes as JSON, and its headers as far as they are text.

use std::str::FromStr;

use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, Message, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::nats::link::ANSWER;
use crate::nats::wire::ACK;

/// What a message's headers begin with.
const VERSION: &str = "NATS/1.0";

/// An event as the stream has it, to be handled like any other.
#[derive(Debug)]
pub(super) struct Salvaged {
    pub(super) sequence: u64,
    pub(super) message: Message,
}

#[derive(Deserialize)]
struct Consumer {
    delivered: Place,
    ack_floor: Place,
}

#[derive(Deserialize)]
struct Place {
    consumer_seq: u64,
    stream_seq: u64,
}

#[derive(Deserialize)]
struct Answer {
    message: Option<Stored>,
}

#[derive(Deserialize)]
struct Stored {
    subject: String,
    seq: u64,
    hdrs: Option<String>,
    data: Option<String>,
}

/// The oldest event of a consumer that was delivered and is not acknowledged, if it is one that cannot be read. What is older
/// than such a one is acknowledged in time, so sooner or later it is the oldest.
pub(super) async fn oldest(client: &Client, stream: &str, consumer: &str, topic: &str) -> Option<Salvaged> {
    let state: Consumer =
        ask(client, format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}"), String::new()).await?;
    let first = serde_json::json!({ "seq": state.ack_floor.stream_seq + 1, "next_by_subj": topic });
    let answer: Answer = ask(client, format!("$JS.API.STREAM.MSG.GET.{stream}"), first.to_string()).await?;
    let stored = answer.message.filter(|stored| stored.seq <= state.delivered.stream_seq)?;
    let head = STANDARD.decode(stored.hdrs?).ok()?;
    if is_readable(&head) {
        return None;
    }
    let (sequence, place) = (stored.seq, state.delivered.consumer_seq);
    let payload = STANDARD.decode(stored.data.unwrap_or_default()).ok()?;
    let message = Message {
        subject: stored.subject.into(),
        // As the server makes it, but for the attempt, which it does not tell, and the time.
        reply: Some(format!("{ACK}{stream}.{consumer}.1.{sequence}.{place}.0.0").into()),
        length: payload.len(),
        payload: payload.into(),
        headers: Some(read(&head)),
        status: None,
        description: None,
    };
    Some(Salvaged { sequence, message })
}

async fn ask<T: DeserializeOwned>(client: &Client, subject: String, question: String) -> Option<T> {
    let answer = timeout(ANSWER, client.request(subject, question.into())).await.ok()?.ok()?;
    serde_json::from_slice(&answer.payload).ok()
}

/// Whether the client can read these headers.
fn is_readable(head: &[u8]) -> bool {
    let Ok(head) = std::str::from_utf8(head) else { return false };
    let mut lines = head.lines();
    let Some(status) = lines.next().and_then(|line| line.strip_prefix(VERSION)) else { return false };
    let status = status.trim().split(' ').next().unwrap_or_default();
    let mut named = false;
    let is_header = |line: &str| {
        // A line that begins with white space goes on with the one before.
        if !(named && line.starts_with(char::is_whitespace)) {
            named = line.split_once(':').is_some_and(|(name, _)| HeaderName::from_str(name).is_ok());
        }
        // At a carriage return it panics.
        (named || line.is_empty()) && !line.contains('\r')
    };
    (status.is_empty() || status.parse::<StatusCode>().is_ok()) && lines.all(is_header)
}

/// What can be read of headers.
fn read(head: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in String::from_utf8_lossy(head).lines().skip(1) {
        if let Some((name, value)) = line.split_once(':')
            && let (Ok(name), Ok(value)) = (HeaderName::from_str(name), HeaderValue::from_str(value.trim()))
        {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_told_that_the_client_cannot_read() {
        for head in ["NATS/1.0\r\n\r\n", "NATS/1.0\r\na: b\r\n c\r\nd:\r\n\r\n", "NATS/1.0 503 Busy\r\n\r\n"]
        {
            assert!(is_readable(head.as_bytes()), "{head}");
        }
        let unreadable: [&[u8]; 7] = [
            b"",
            b"HTTP/1.1\r\n\r\n",
            b"NATS/1.0 busy\r\n\r\n",
            b"NATS/1.0\r\na\r\n\r\n",
            b"NATS/1.0\r\na b: c\r\n\r\n",
            b"NATS/1.0\r\na: \xff\r\n\r\n",
            b"NATS/1.0\r\na: b\rc\r\n\r\n",
        ];
        for head in unreadable {
            assert!(!is_readable(head), "{}", head.escape_ascii());
        }
    }

    #[test]
    fn what_can_be_read_of_headers_is() {
        let headers =
            read(b"NATS/1.0\r\nNats-Msg-Id: orders/7\r\n\xff: x\r\nnone\r\nname: J\xfcrgen\r\n\r\n");
        assert_eq!(headers.len(), 2);
        assert_eq!(headers.get("Nats-Msg-Id").map(HeaderValue::as_str), Some("orders/7"));
        assert_eq!(headers.get("name").map(HeaderValue::as_str), Some("J\u{fffd}rgen"));
    }
}
