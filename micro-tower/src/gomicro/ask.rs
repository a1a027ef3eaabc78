//! Asks as the version of go-micro that serves an endpoint wants to be asked, and reads its answers.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use micro_balance::grpc_timeout;
use micro_discover::Endpoint;
use serde_json::value::RawValue;

use super::{
    END, LONGEST, Message, json_rpc,
    proto_rpc::{self, Header},
};
use crate::{codec::frame, fault::Fault, metadata::is_of_connection};

/// The label by which an endpoint of ours says what it speaks beside go-micro's RPC.
pub(crate) const SPEAKS: &str = "speaks";

/// On a request: it is part of a stream. go-micro has to know before the first answer.
const STREAM: HeaderName = HeaderName::from_static("micro-stream");

/// How a server of go-micro's is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Envelopes: JSON-RPC and proto-rpc.
    V0,
    /// Headers, under both names.
    V1,
    /// Headers.
    V5,
}

impl Dialect {
    /// What the labels of an endpoint say; `None` for gRPC, and for what prefers it.
    pub(crate) fn of(labels: &BTreeMap<String, String>) -> Option<Self> {
        let label = |name| labels.get(name).map(String::as_str);
        if label(SPEAKS).is_some_and(|all| all.contains("grpc")) {
            return None;
        }
        match (label("protocol"), label("server")) {
            (Some("mucp"), Some("rpc")) => Some(Self::V1),
            (Some("mucp"), _) => Some(Self::V5),
            (None, Some("rpc")) => Some(Self::V0),
            _ => None,
        }
    }
}

/// Says of an endpoint of ours what it speaks, in go-micro's words and in ours.
pub(crate) fn labelled(mut endpoint: Endpoint) -> Endpoint {
    for (name, value) in
        [("protocol", "mucp"), ("server", "mucp"), ("transport", "http"), (SPEAKS, "grpc json mucp")]
    {
        endpoint.metadata.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    endpoint
}

/// The same for an inbox at a NATS server.
#[cfg(feature = "nats")]
pub(crate) fn labelled_for_nats(endpoint: Endpoint) -> Endpoint {
    endpoint.metadata("protocol", "mucp").metadata("server", "mucp").metadata("transport", "nats")
}

/// Says that a request is part of a stream.
pub(crate) fn declare_stream(headers: &mut HeaderMap) {
    headers.insert(STREAM, HeaderValue::from_static("true"));
}

/// Whether a request says that it is part of a stream.
pub(crate) fn is_stream(headers: &HeaderMap) -> bool {
    headers.contains_key(STREAM)
}

/// One call of a server: how its messages are written and its answers read.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    dialect: Dialect,
    /// As `Greeter.Hello`.
    method: String,
    json: bool,
    seq: u64,
    headers: HeaderMap,
}

impl Ask {
    /// The call that a gRPC request to `service` makes. `None` for a path that names no method.
    pub(crate) fn new(
        dialect: Dialect,
        service: &str,
        path: &str,
        headers: &HeaderMap,
        seq: u64,
        stream: bool,
    ) -> Option<Self> {
        let (package, name) = path.strip_prefix('/')?.split_once('/')?;
        let method = format!("{}.{name}", package.rsplit('.').next()?);
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let json = content_type.is_some_and(|value| value.starts_with("application/grpc+json"));
        let mut message = Message { headers: user_headers(headers), body: Bytes::new() };
        let (accept, content_type) = content_types(json);
        message.set("content-type", content_type);
        message.set("accept", accept);
        // A stream lives as long as its caller waits.
        let timeout = headers.get("grpc-timeout").and_then(grpc_timeout::decode).filter(|_| !stream);
        if let Some(timeout) = timeout {
            message.set("timeout", &timeout.as_nanos().to_string());
        }
        let names: &[&str] = match dialect {
            Dialect::V0 => &[],
            Dialect::V1 => &["micro-", "x-micro-"],
            Dialect::V5 => &["micro-"],
        };
        let id = seq.to_string();
        for prefix in names {
            let mut fields =
                vec![("service", service), ("method", &method), ("endpoint", &method), ("id", &id)];
            if stream && dialect == Dialect::V5 {
                fields.push(("stream", &id));
            }
            for (name, value) in fields {
                let name = HeaderName::try_from(format!("{prefix}{name}"));
                if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                    message.headers.insert(name, value);
                }
            }
        }
        Some(Self { dialect, method, json, seq, headers: message.headers })
    }

    /// A message of the call.
    pub(crate) fn message(&self, payload: &[u8]) -> Result<Message, Fault> {
        let body = match (self.dialect, self.json) {
            (Dialect::V0, true) => {
                let id = RawValue::from_string(self.seq.to_string()).unwrap_or_else(|_| json_rpc::null());
                let written = json_rpc::write_request(&self.method, &id, payload);
                written.map_err(|error| Fault::bad_request("go.micro.client.codec", error.to_string()))?
            }
            (Dialect::V0, false) => {
                let header = Header { method: Some(self.method.clone()), seq: Some(self.seq), error: None };
                proto_rpc::write(&header, payload)
            }
            (_, true) => [payload.trim_ascii_end(), b"\n"].concat().into(),
            (_, false) => Bytes::copy_from_slice(payload),
        };
        Ok(Message { headers: self.headers.clone(), body })
    }

    /// What a stream begins with, and a server throws away.
    pub(crate) fn opening(&self) -> Result<Message, Fault> {
        self.message(if self.json { b"{}" } else { b"" })
    }

    /// What says that there are no more messages; v0 and v1 have no words for it.
    pub(crate) fn end(&self) -> Option<Message> {
        let mut message = Message { headers: self.headers.clone(), body: Bytes::new() };
        message.set("micro-error", END);
        (self.dialect == Dialect::V5).then_some(message)
    }

    /// What an answer says: a payload, or `None` at the end of a stream. Its id is not looked at: go-micro's
    /// servers send that of an earlier call, and answer in order.
    pub(crate) fn answer(&self, answer: &Message) -> Result<Option<Bytes>, Fault> {
        if let Some(error) = answer.micro("error") {
            return failed(error);
        }
        let unreadable = |error: tower::BoxError| Fault::internal("go.micro.client.codec", error.to_string());
        match answer.subtype().as_deref() {
            Some("text/plain") => {
                let text = String::from_utf8_lossy(&answer.body);
                Err(Fault::internal("go.micro.client", text.trim()))
            }
            Some("json-rpc") => self.json_rpc(answer),
            Some("json") if self.dialect == Dialect::V0 => self.json_rpc(answer),
            Some("proto-rpc" | "protobuf" | "octet-stream") if self.dialect == Dialect::V0 => {
                let (header, payload) = proto_rpc::read(&answer.body).map_err(unreadable)?;
                match header.error.as_deref() {
                    None | Some("") => Ok(Some(payload)),
                    Some(error) => failed(error),
                }
            }
            Some("proto-rpc") => Ok(Some(proto_rpc::read(&answer.body).map_err(unreadable)?.1)),
            Some("grpc" | "grpc+json" | "grpc+proto") => {
                let mut bytes = BytesMut::from(&answer.body[..]);
                Ok(frame::decode(&mut bytes, LONGEST)?.or(Some(Bytes::new())))
            }
            _ if self.json => Ok(Some(Bytes::copy_from_slice(answer.body.trim_ascii_end()))),
            _ => Ok(Some(answer.body.clone())),
        }
    }

    fn json_rpc(&self, answer: &Message) -> Result<Option<Bytes>, Fault> {
        let response = json_rpc::read_response(&answer.body);
        let response =
            response.map_err(|error| Fault::internal("go.micro.client.codec", error.to_string()))?;
        response.error.map_or(Ok(Some(response.result)), |error| failed(&error))
    }
}

fn failed(error: &str) -> Result<Option<Bytes>, Fault> {
    if error == END { Ok(None) } else { Err(Fault::parse(error)) }
}

/// What is accepted, and what is sent.
fn content_types(json: bool) -> (&'static str, &'static str) {
    if json {
        ("application/json", "application/json")
    } else {
        ("application/protobuf", "application/protobuf")
    }
}

/// The caller's own headers.
fn user_headers(headers: &HeaderMap) -> HeaderMap {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        let text = name.as_str();
        let grpc = text.starts_with("grpc-") || *name == header::USER_AGENT || *name == header::CONTENT_TYPE;
        if !is_of_connection(name)
            && !grpc
            && *name != STREAM
            && !text.starts_with("accept")
            && text != "timeout"
        {
            all.append(name.clone(), value.clone());
        }
    }
    all
}
