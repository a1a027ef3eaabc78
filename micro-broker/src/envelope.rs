//! go-micro's envelopes: how its brokers put headers and a body into one message.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tower::BoxError;

use crate::event::Event;
use crate::id::Id;

/// How events are written on the wire. Every form is read, whichever is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Envelope {
    /// Ours: headers are the wire's own headers, the body is the payload.
    #[default]
    Native,
    /// go-micro v1.0 to v6: JSON with `Micro-Topic` and `Micro-ID` among its headers.
    GoMicro,
    /// go-micro before v1.0: JSON with `:topic` among its headers, and no id.
    GoMicroV0,
}

impl std::str::FromStr for Envelope {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "native" => Ok(Self::Native),
            "go-micro" => Ok(Self::GoMicro),
            "go-micro-v0" => Ok(Self::GoMicroV0),
            _ => Err(format!("envelope {name:?}: it is native, go-micro or go-micro-v0")),
        }
    }
}

/// The JSON both forms share. A reader takes the names in any case, as Go's decoder does.
#[derive(Serialize, Deserialize)]
struct Message {
    #[serde(rename = "Header", alias = "header", default)]
    header: Option<BTreeMap<String, String>>,
    #[serde(rename = "Body", alias = "body", default)]
    body: Option<String>,
}

/// Writes an event as go-micro's JSON. Bodies are base64; a header that is not text is left out.
pub(crate) fn write(event: &Event, envelope: Envelope) -> Bytes {
    let message = Message { header: Some(names(event, envelope)), body: Some(STANDARD.encode(&event.body)) };
    serde_json::to_vec(&message).expect("maps of text are JSON").into()
}

/// Reads go-micro's JSON; an event without a topic in its headers is one of `topic`.
pub(crate) fn read(payload: &[u8], topic: Option<&str>) -> Result<Event, BoxError> {
    let message: Message = serde_json::from_slice(payload)?;
    let header = message.header.unwrap_or_default();
    let body = STANDARD.decode(message.body.unwrap_or_default())?;
    from_names(header, body.into(), topic).ok_or_else(|| "Topic not found".into())
}

/// Whether a payload without headers of ours looks like go-micro's JSON.
pub(crate) fn looks_like_one(payload: &[u8]) -> bool {
    payload.starts_with(b"{\"Header\":") || payload.starts_with(b"{\"Body\":")
}

/// The headers go-micro expects, in the case it looks them up in.
pub(crate) fn names(event: &Event, envelope: Envelope) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for name in event.headers.keys() {
        let values = event.headers.get_all(name).iter();
        let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
        if !values.is_empty() {
            names.insert(canonical(name.as_str()), values.join(", "));
        }
    }
    if envelope == Envelope::GoMicroV0 {
        names.insert(":topic".to_owned(), event.topic.to_string());
    } else {
        names.insert("Micro-Topic".to_owned(), event.topic.to_string());
        names.insert("Micro-ID".to_owned(), event.id.to_string());
    }
    names
}

/// The event in go-micro's headers; `None` when neither they nor `topic` name a topic.
pub(crate) fn from_names(names: BTreeMap<String, String>, body: Bytes, topic: Option<&str>) -> Option<Event> {
    let (mut headers, mut id, mut found) = (HeaderMap::new(), None, topic.map(ToOwned::to_owned));
    for (name, value) in names {
        match name.to_ascii_lowercase().as_str() {
            ":topic" | "micro-topic" => found = Some(value),
            "micro-id" => id = Some(Id::from(value)),
            name => {
                if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                    headers.append(name, value);
                }
            }
        }
    }
    let mut event = Event::new(found?, body);
    event.headers = headers;
    event.id = id.unwrap_or(event.id);
    Some(event)
}

/// `x-request-id` as `X-Request-Id`: Go's canonical form.
fn canonical(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As captured from go-micro v0.14, v1.0.0, v6.10 over HTTP and v6.10 over NATS.
    const CAPTURED: [(&str, Option<&str>, &str); 4] = [
        (
            r#"{"Header":{":topic":"topic.greet","Content-Type":"application/json","X-Micro-From-Service":"caller","X-Request-Id":"abc"},"Body":"eyJuYW1lIjoiZXZlbnQifQ=="}"#,
            None,
            r#"{"name":"event"}"#,
        ),
        (
            r#"{"Header":{"Content-Type":"application/json","Micro-Id":"2827cd60-475f-4cb6-9290-024ff22afb92","Micro-Topic":"topic.greet","X-Micro-From-Service":"caller","X-Request-Id":"abc"},"Body":"eyJuYW1lIjoiZXZlbnQifQo="}"#,
            Some("2827cd60-475f-4cb6-9290-024ff22afb92"),
            "{\"name\":\"event\"}\n",
        ),
        (
            r#"{"Header":{"Content-Type":"application/json","Micro-From-Service":"caller","Micro-ID":"af154401-ba8a-4f4d-b7c7-1801a0199019","Micro-Topic":"topic.greet","X-Request-Id":"abc"},"Body":"eyJuYW1lIjoiZXZlbnQifQo="}"#,
            Some("af154401-ba8a-4f4d-b7c7-1801a0199019"),
            "{\"name\":\"event\"}\n",
        ),
        (
            r#"{"Header":{"Content-Type":"application/json","Micro-ID":"fe7cb2f1-6a27-4512-a985-ed65d3e5a6f6","Micro-Topic":"topic.greet"},"Body":"eyJuYW1lIjoiZXYifQo="}"#,
            Some("fe7cb2f1-6a27-4512-a985-ed65d3e5a6f6"),
            "{\"name\":\"ev\"}\n",
        ),
    ];

    #[test]
    fn what_go_micro_wrote_is_read() {
        for (payload, id, body) in CAPTURED {
            let event = read(payload.as_bytes(), None).unwrap();
            assert_eq!((&*event.topic, &*event.body), ("topic.greet", body.as_bytes()));
            assert_eq!(event.headers["content-type"], "application/json");
            assert!(id.is_none_or(|id| event.id.to_string() == id), "{event:?}");
            assert!(looks_like_one(payload.as_bytes()));
        }
    }

    #[test]
    fn what_is_written_is_what_go_micro_writes_byte_for_byte() {
        for (index, envelope) in [(0, Envelope::GoMicroV0), (2, Envelope::GoMicro), (3, Envelope::GoMicro)] {
            let payload = CAPTURED[index].0;
            assert_eq!(write(&read(payload.as_bytes(), None).unwrap(), envelope), payload);
        }
    }

    #[test]
    fn what_is_no_envelope_is_an_error() {
        for payload in ["", "null", "[]", "{}", r#"{"Header":{},"Body":"!"}"#, r#"{"Header":{":topic":1}}"#] {
            assert!(read(payload.as_bytes(), None).is_err(), "{payload}");
        }
        assert_eq!(*read(b"{}", Some("t")).unwrap().topic, *"t");
    }
}
