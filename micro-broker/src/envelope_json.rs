//! go-micro's envelopes over HTTP and NATS: headers and body in one JSON document.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tower::BoxError;

use crate::envelope::{self, Envelope};
use crate::event::Event;

/// The JSON both forms share. A reader takes the names in any case, as Go's decoder does.
#[derive(Serialize, Deserialize)]
struct Message {
    #[serde(rename = "Header", alias = "header", default)]
    header: Option<BTreeMap<String, String>>,
    #[serde(rename = "Body", alias = "body", default)]
    body: Option<String>,
}

impl Event {
    /// The event as the JSON of go-micro's brokers, `{"Header":{…},"Body":"…"}` with the body in base64, topic and id among
    /// the headers. A header that is not text is left out.
    pub fn to_json(&self, form: Envelope) -> Bytes {
        write(self, form)
    }

    /// The event that such JSON says.
    ///
    /// # Errors
    ///
    /// Where it is none, or says no topic.
    pub fn from_json(json: &[u8]) -> Result<Self, BoxError> {
        read(json, None)
    }
}

/// Writes an event as go-micro's JSON. Bodies are base64; a header that is not text is left out.
pub(crate) fn write(event: &Event, form: Envelope) -> Bytes {
    let message =
        Message { header: Some(envelope::names(event, form)), body: Some(STANDARD.encode(&event.body)) };
    serde_json::to_vec(&message).expect("maps of text are JSON").into()
}

/// Reads go-micro's JSON; an event without a topic in its headers is one of `topic`.
pub(crate) fn read(payload: &[u8], topic: Option<&str>) -> Result<Event, BoxError> {
    let message: Message = serde_json::from_slice(payload)?;
    let header = message.header.unwrap_or_default();
    let body = STANDARD.decode(message.body.unwrap_or_default())?;
    envelope::from_names(header, body.into(), topic).ok_or_else(|| "Topic not found".into())
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
