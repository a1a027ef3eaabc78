//! What came of calls and events.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use tonic::metadata::{KeyAndValueRef, MetadataMap};

use crate::call::Answer;
use crate::schema::Json;

/// What a service answered: as JSON it is the message alone.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Answered {
    /// The message.
    pub answer: Answer,
    /// How it is written.
    pub form: Json,
}

impl Serialize for Answered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.answer.serialize(&self.form, serializer)
    }
}

/// How one endpoint of several answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NodeAnswer {
    /// The endpoint.
    pub id: String,
    /// Where it listens.
    pub address: String,
    /// How long it took, connecting included, in milliseconds.
    pub latency_ms: f64,
    /// What it answered.
    pub answers: Vec<Answered>,
    /// What went wrong, in words.
    pub error: Option<String>,
}

/// Headers or trailers; what is not text is base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Metadata {
    /// `endpoint`, `header` or `trailer`.
    pub kind: &'static str,
    /// Names and values, in order.
    pub entries: Vec<(String, String)>,
}

impl Metadata {
    pub(crate) fn new(kind: &'static str, map: &MetadataMap) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let entries = map.iter().map(|entry| match entry {
            KeyAndValueRef::Ascii(name, value) => (name.to_string(), text(value.as_encoded_bytes())),
            KeyAndValueRef::Binary(name, value) => (name.to_string(), text(value.as_encoded_bytes())),
        });
        Self { kind, entries: entries.collect() }
    }
}

/// A service, method, message or enum.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Described {
    /// Its full name.
    pub name: String,
    /// `service`, `method`, `message` or `enum`.
    pub kind: &'static str,
    /// As a `.proto` says it.
    pub proto: String,
    /// The methods of a service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// An example of the message, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<serde_json::Value>,
}

/// An event that was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Published {
    /// Where.
    pub topic: String,
    /// Which event it is.
    pub id: String,
}

/// An event that was heard.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Heard {
    /// Where.
    pub topic: String,
    /// Which event it is.
    pub id: String,
    /// What travels beside the body.
    pub headers: BTreeMap<String, String>,
    /// JSON as such; other text as a string; what is no text as base64 in `body_base64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<serde_json::Value>,
    /// A body that is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

impl Heard {
    pub(crate) fn new(event: &micro_broker::Event) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (body, body_base64) = match std::str::from_utf8(&event.body) {
            Ok(said) => {
                let json =
                    serde_json::from_str(said).unwrap_or_else(|_| serde_json::Value::String(said.to_owned()));
                (Some(json), None)
            }
            Err(_) => (None, Some(STANDARD.encode(&event.body))),
        };
        Self {
            topic: event.topic.to_string(),
            id: event.id.to_string(),
            headers: event.headers.iter().map(|(n, v)| (n.to_string(), text(v.as_bytes()))).collect(),
            body,
            body_base64,
        }
    }
}
