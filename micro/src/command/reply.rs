//! What commands answer: plain data, which each face shows in its way.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use micro_discover::{Endpoint, Service};
use serde::{Serialize, Serializer};
use tonic::metadata::{KeyAndValueRef, MetadataMap};

use crate::call::Answer;
use crate::schema::Json;

/// One answer of a command. As JSON or YAML it is the data alone, without a tag.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Reply {
    /// The services there are, by name.
    Services(Vec<Listed>),
    /// One service: a record per version.
    Service(Vec<Service>),
    /// An endpoint came, changed or went.
    Changed(Changed),
    /// How each endpoint is.
    Health(Vec<Checked>),
    /// Something was done to a record.
    Done(Done),
    /// A service answered.
    Answer(Answered),
    /// How each endpoint of a service answered.
    Nodes(Vec<NodeAnswer>),
    /// What came beside an answer.
    Metadata(Metadata),
    /// What services can be asked, and by which messages.
    Described(Vec<Described>),
    /// An event was published.
    Published(Published),
    /// An event was heard.
    Heard(Heard),
    /// The settings in force.
    Settings(Vec<Setting>),
    /// The contexts there are.
    Contexts(Vec<NamedContext>),
    /// A text that is what was asked for, such as a script.
    Text(Text),
    /// What endpoints say of themselves.
    Stats(Vec<Measured>),
    /// A service was written.
    Created(Created),
    /// A service that is run wrote a line, or something happened to it.
    Log(Log),
    /// A face listens.
    Listening(Listening),
}

/// What an endpoint says of itself; what it does not say is not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Measured {
    /// The service.
    pub service: String,
    /// The version that it serves.
    pub version: String,
    /// The endpoint.
    pub id: String,
    /// Where it listens.
    pub address: String,
    /// Whether it serves, or why it says nothing.
    pub state: State,
    /// How long its answer took once connected, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Since when it runs, in seconds since 1970.
    pub started: Option<u64>,
    /// For how long.
    pub uptime_seconds: Option<u64>,
    /// The memory it uses.
    pub memory_bytes: Option<u64>,
    /// Its threads; goroutines in Go.
    pub threads: Option<u64>,
    /// How long it stood still for garbage, in all.
    pub gc_nanoseconds: Option<u64>,
    /// Requests so far.
    pub requests: Option<u64>,
    /// Those that failed.
    pub errors: Option<u64>,
    /// Requests since the last round.
    pub requests_per_second: Option<f64>,
    /// Those that failed.
    pub errors_per_second: Option<f64>,
    /// What went wrong, in words.
    pub error: Option<String>,
}

/// A service that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Created {
    /// Its name.
    pub name: String,
    /// The files, in the order in which they were written.
    pub files: Vec<String>,
}

/// A line of a service that is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Log {
    /// The service.
    pub name: String,
    /// `stdout`, `stderr`, `build`, or `micro` for what happened to it.
    pub stream: &'static str,
    /// What it wrote.
    pub line: String,
}

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Setting {
    /// Its name.
    pub key: String,
    /// What it is, without what may be secret.
    pub value: Option<String>,
    /// Who says so.
    pub origin: String,
}

/// A context: settings with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NamedContext {
    /// Its name.
    pub name: String,
    /// Whether it is in force.
    pub current: bool,
    /// What it sets, without what may be secret.
    pub settings: BTreeMap<String, String>,
}

/// A text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Text {
    /// The text.
    pub text: String,
}

impl Setting {
    pub(crate) fn new(key: &str, value: Option<String>, origin: String) -> Self {
        Self { key: key.to_owned(), value, origin }
    }
}

impl NamedContext {
    pub(crate) fn new(name: String, current: bool, settings: BTreeMap<String, String>) -> Self {
        Self { name, current, settings }
    }
}

impl Text {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

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
    /// `header` or `trailer`.
    pub kind: &'static str,
    /// Names and values, in order.
    pub entries: Vec<(String, String)>,
}

impl Metadata {
    pub(super) fn new(kind: &'static str, map: &MetadataMap) -> Self {
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
    pub(super) fn new(event: &micro_broker::Event) -> Self {
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

/// A service in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its versions, in order.
    pub versions: Vec<String>,
    /// How many endpoints it has.
    pub endpoints: usize,
}

/// An endpoint that came, changed or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Changed {
    /// What happened.
    pub event: Event,
    /// The service's name.
    pub service: String,
    /// The endpoint as it is now, or as it last was.
    pub endpoint: Endpoint,
}

/// What happened to an endpoint or its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// It is new, or was there when the watch began.
    Added,
    /// Something about it differs.
    Changed,
    /// It is gone.
    Removed,
}

/// How an endpoint is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Checked {
    /// The service, which whoever asked knows.
    #[serde(skip)]
    pub service: String,
    /// The version that it serves.
    pub version: String,
    /// The endpoint.
    pub id: String,
    /// Where it listens.
    pub address: String,
    /// What it says, or why it says nothing.
    pub state: State,
    /// How long connecting took, in milliseconds.
    pub connect_ms: Option<f64>,
    /// How long its answer took once connected, in milliseconds.
    pub latency_ms: Option<f64>,
    /// What went wrong, in words.
    pub error: Option<String>,
}

/// The state of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// It serves.
    Serving,
    /// It says that it does not serve now.
    NotServing,
    /// It does not know whether it serves.
    #[default]
    Unknown,
    /// It has no gRPC service of the name that was asked for.
    ServiceUnknown,
    /// It does not answer gRPC health checks.
    Unimplemented,
    /// It cannot be connected to.
    Unreachable,
    /// It did not answer in time.
    Timeout,
    /// The check failed in another way.
    Failed,
}

/// Something that was done to a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Done {
    /// `registered` or `deregistered`.
    pub done: &'static str,
    /// The record it was done to, with the endpoints that are concerned.
    pub service: Service,
    /// Whether the record goes when this command ends.
    pub held: bool,
}

/// A face that listens for requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Listening {
    /// Which face, such as `api`.
    pub face: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// The same as a URL.
    pub url: String,
}

impl Listening {
    /// The face `face` listens on `address`, over TLS or not.
    pub fn new(face: &'static str, address: SocketAddr, tls: bool) -> Self {
        let scheme = if tls { "https" } else { "http" };
        Self { face, address, url: format!("{scheme}://{address}") }
    }
}
