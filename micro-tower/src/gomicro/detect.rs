//! Reads what a message asks for: which version of go-micro speaks, in which envelope, to which method.

use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;
use tower::BoxError;

use super::{LONGEST, Message, json_rpc, proto_rpc};
use crate::codec::frame;

/// The service whose methods are topics: what subscribes to one is called there.
pub(crate) const TOPICS: &str = "micro.topic";

/// Which version of go-micro a message is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    /// Everything is in the envelope.
    V0,
    /// `Micro-` and `X-Micro-` headers.
    V1,
    /// `Micro-` headers.
    V5,
}

/// What a payload is wrapped in, with what an answer needs of it.
#[derive(Clone, Debug)]
pub(crate) enum Envelope {
    Plain,
    JsonRpc(Box<RawValue>),
    ProtoRpc(u64),
    Grpc,
}

/// One message of a call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) era: Era,
    pub(crate) envelope: Envelope,
    /// What the payload is written in: the subtype of its content type.
    pub(crate) format: String,
    /// As `Greeter.Hello`.
    pub(crate) method: String,
    /// What tells this call from others of the same peer.
    pub(crate) id: String,
    /// Where this is an event, its topic; there is no method then.
    pub(crate) topic: Option<String>,
    /// Whether this is declared to be part of a stream.
    pub(crate) stream: bool,
    /// What the peer puts in place of a payload: the end of its stream, or an error.
    pub(crate) error: Option<String>,
    pub(crate) payload: Bytes,
}

/// Why a message is no call.
#[derive(Debug)]
pub(crate) enum NoCall {
    /// There is no codec for its content type.
    Unsupported { content_type: String, era: Era },
    /// It cannot be read.
    Malformed { era: Era, error: BoxError },
}

/// Reads a message that came to a server.
pub(crate) fn read(message: &Message) -> Result<Call, NoCall> {
    if let Some(topic) = message.micro("topic") {
        return read_event(message, topic);
    }
    let (method, endpoint) = (message.micro("method"), message.micro("endpoint"));
    let new = message.micro("protocol").is_some()
        || message.micro("service").is_some()
        || method.or(endpoint).is_some();
    let legacy = !new || (message.micro("protocol").is_none() && message.micro("target").is_some());
    let twice =
        ["x-micro-service", "x-micro-method", "x-micro-endpoint"].iter().any(|name| message.has(name));
    let era = match (new, twice) {
        (false, _) => Era::V0,
        (true, true) => Era::V1,
        (true, false) => Era::V5,
    };
    let default = if new { "protobuf" } else { "octet-stream" };
    let subtype = message.subtype().unwrap_or_else(|| default.to_owned());
    let call = Call {
        era,
        envelope: Envelope::Plain,
        format: String::new(),
        method: endpoint.or(method).unwrap_or_default().to_owned(),
        id: message.micro("stream").or_else(|| message.micro("id")).unwrap_or_default().to_owned(),
        topic: None,
        stream: message.micro("stream").is_some(),
        error: message.micro("error").map(ToOwned::to_owned),
        payload: message.body.clone(),
    };
    // Whatever the content type, the end has no body.
    if call.error.is_some() {
        return Ok(call);
    }
    call.opened(&subtype, legacy, message)
}

/// An event, whose payload stands for itself.
fn read_event(message: &Message, topic: &str) -> Result<Call, NoCall> {
    let call = Call {
        era: Era::V5,
        envelope: Envelope::Plain,
        format: String::new(),
        method: String::new(),
        id: message.micro("id").unwrap_or(topic).to_owned(),
        topic: Some(topic.to_owned()),
        stream: false,
        error: None,
        payload: message.body.clone(),
    };
    call.opened(message.subtype().as_deref().unwrap_or("protobuf"), false, message)
}

enum Failed {
    Unsupported,
    Malformed(BoxError),
}

impl<E: Into<BoxError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Malformed(error.into())
    }
}

impl Call {
    /// The call with its payload out of its envelope.
    fn opened(mut self, subtype: &str, legacy: bool, message: &Message) -> Result<Self, NoCall> {
        let era = self.era;
        self.open(subtype, legacy, message).map_err(|failed| match failed {
            Failed::Unsupported => {
                let content_type = message.headers.get(http::header::CONTENT_TYPE);
                let content_type = content_type.and_then(super::message::text).unwrap_or_default().to_owned();
                NoCall::Unsupported { content_type, era }
            }
            Failed::Malformed(error) => NoCall::Malformed { era, error },
        })?;
        Ok(self)
    }

    /// Takes the payload out of its envelope.
    fn open(&mut self, subtype: &str, legacy: bool, message: &Message) -> Result<(), Failed> {
        match (subtype, legacy) {
            ("json", true) | ("json-rpc", _) => self.open_json_rpc(),
            ("protobuf" | "octet-stream", true) | ("proto-rpc", _) => {
                let (header, payload) = proto_rpc::read(&message.body)?;
                self.open_proto_rpc(header, payload);
                Ok(())
            }
            ("json", false) => {
                self.format = "json".to_owned();
                Ok(())
            }
            ("protobuf", false) => {
                self.format = "proto".to_owned();
                Ok(())
            }
            ("octet-stream", false) => {
                // v1 clients that know nothing of their peer send a frame of proto-rpc under this name.
                match proto_rpc::read(&message.body) {
                    Ok((header, payload)) if header.method.as_deref() == Some(self.method.as_str()) => {
                        self.open_proto_rpc(header, payload);
                    }
                    _ => self.format = "octet-stream".to_owned(),
                }
                Ok(())
            }
            ("grpc" | "grpc+proto" | "grpc+json", false) => {
                let mut bytes = BytesMut::from(&message.body[..]);
                self.payload = frame::decode(&mut bytes, LONGEST)?.unwrap_or_default();
                self.format = if subtype == "grpc+json" { "json" } else { "proto" }.to_owned();
                self.envelope = Envelope::Grpc;
                Ok(())
            }
            _ => Err(Failed::Unsupported),
        }
    }

    fn open_json_rpc(&mut self) -> Result<(), Failed> {
        let request = json_rpc::read_request(&self.payload)?;
        if self.era == Era::V0 {
            self.id = request.id.get().to_owned();
        }
        self.envelope = Envelope::JsonRpc(request.id);
        self.method_unless_known(request.method);
        self.payload = request.params;
        self.format = "json".to_owned();
        Ok(())
    }

    fn open_proto_rpc(&mut self, header: proto_rpc::Header, payload: Bytes) {
        let seq = header.seq.unwrap_or_default();
        if self.era == Era::V0 {
            self.id = seq.to_string();
        }
        self.envelope = Envelope::ProtoRpc(seq);
        self.method_unless_known(header.method.unwrap_or_default());
        self.error = header.error.filter(|error| !error.is_empty());
        self.payload = payload;
        self.format = "proto".to_owned();
    }

    fn method_unless_known(&mut self, method: String) {
        if self.method.is_empty() {
            self.method = method;
        }
    }

    /// The path of the gRPC request that this is.
    pub(crate) fn path(&self) -> Option<String> {
        let (service, method) = match &self.topic {
            Some(topic) => Some((TOPICS, topic.as_str())).filter(|(_, topic)| is_path(topic)),
            None => self.parts(),
        }?;
        Some(format!("/{service}/{method}"))
    }

    /// Service and method of `Greeter.Hello`.
    pub(crate) fn parts(&self) -> Option<(&str, &str)> {
        let (service, method) = self.method.split_once('.')?;
        let whole = !service.is_empty() && !method.is_empty() && !method.contains('.');
        (whole && is_path(service) && is_path(method)).then_some((service, method))
    }
}

/// Whether `text` can stand in a path as it is.
fn is_path(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#%".contains(&byte))
}
