//! Writes answers as the version of go-micro that asked writes them.

use http::HeaderName;
use serde_json::value::RawValue;

use super::{
    END, Message,
    detect::{Call, Envelope, Era, NoCall},
    json_rpc,
    proto_rpc::{self, Header},
};
use crate::{codec::frame, fault::Fault, metadata::is_of_connection};

const ERROR: [&str; 2] = ["micro-error", "x-micro-error"];

/// What answers to a call have in common: the headers of the call, and how its payload was wrapped.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    call: Call,
    echo: Message,
}

impl Answers {
    /// `message` is what `call` was read from.
    pub(crate) fn new(call: Call, message: &Message) -> Self {
        Self { call, echo: echo(message) }
    }

    /// A message. `stream` says that there may be more.
    pub(crate) fn message(&self, payload: &[u8], stream: bool) -> Message {
        let mut answer = self.echo.clone();
        if self.call.topic.is_some() {
            // That there is no error is all there is to say of an event.
            return answer;
        }
        let method = &self.call.method;
        match &self.call.envelope {
            Envelope::Plain if self.call.format == "json" => answer.body = line(payload),
            Envelope::Plain => answer.body = payload.to_vec().into(),
            Envelope::Grpc => answer.body = frame::encode(payload),
            Envelope::JsonRpc(id) => match json_rpc::write_result(id, payload) {
                Ok(body) => answer.body = body,
                Err(error) => {
                    return self.fault(&Fault::plain(format!("rpc: cannot write the answer: {error}")));
                }
            },
            Envelope::ProtoRpc(seq) => {
                let header = match self.call.era {
                    Era::V0 => {
                        Header { method: Some(method.clone()), seq: Some(*seq), error: Some(String::new()) }
                    }
                    Era::V1 | Era::V5 => Header { method: None, seq: Some(*seq), error: None },
                };
                answer.body = proto_rpc::write(&header, payload);
            }
        }
        if self.call.era == Era::V5 {
            self.name(&mut answer, stream);
        }
        answer
    }

    /// The headers that v5 and v6 write twice.
    fn name(&self, answer: &mut Message, stream: bool) {
        if stream {
            for (from, to) in [
                ("endpoint", "x-micro-endpoint"),
                ("method", "x-micro-method"),
                ("service", "x-micro-service"),
            ] {
                if let Some(value) = self.echo.micro(from) {
                    answer.set(to, value);
                }
            }
        } else if matches!(self.call.envelope, Envelope::JsonRpc(_) | Envelope::ProtoRpc(_)) {
            answer.set("x-micro-id", &self.call.id);
        }
    }

    /// The end of a stream.
    pub(crate) fn end(&self) -> Message {
        self.error(END)
    }

    /// A failure.
    pub(crate) fn fault(&self, fault: &Fault) -> Message {
        let text = fault.to_string();
        let missing = fault.code == 501 || text.starts_with("rpc: can't find ");
        if let Some(topic) = self.call.topic.as_ref().filter(|_| missing) {
            return self.error(&format!("rpc: nobody subscribes to {topic} here"));
        }
        // v0 names methods by their whole name.
        if self.call.era == Era::V0 && text.starts_with("rpc: can't find ") {
            let (what, _) = text.rsplit_once(' ').unwrap_or((&text, ""));
            return self.error(&format!("{what} {}", self.call.method));
        }
        self.error(&text)
    }

    fn error(&self, text: &str) -> Message {
        let mut answer = self.echo.clone();
        let Call { era, method, .. } = &self.call;
        if *era != Era::V0 {
            answer.set_both(ERROR, text);
        }
        // Envelopes say it too: without, the codecs of v5's client fail at an empty body.
        match (&self.call.envelope, era) {
            (Envelope::JsonRpc(id), Era::V0) => answer.body = written(id, "{}", text),
            (Envelope::JsonRpc(id), Era::V5) => answer.body = written(id, "null", text),
            (Envelope::JsonRpc(_), Era::V1) => answer.body = written(&json_rpc::string(""), "null", text),
            (Envelope::ProtoRpc(seq), Era::V0) => {
                let header =
                    Header { method: Some(method.clone()), seq: Some(*seq), error: Some(text.to_owned()) };
                answer.body = proto_rpc::write(&header, b"");
            }
            (Envelope::ProtoRpc(seq), Era::V1 | Era::V5) => {
                let header = Header { method: None, seq: Some(*seq), error: Some(text.to_owned()) };
                answer.body = proto_rpc::write(&header, b"");
            }
            (Envelope::Plain | Envelope::Grpc, _) => {}
        }
        answer
    }
}

fn written(id: &RawValue, nothing: &str, text: &str) -> bytes::Bytes {
    json_rpc::write_error(id, nothing, text).unwrap_or_default()
}

/// The answer to what is no call.
pub(crate) fn refusal(message: &Message, no: &NoCall) -> Message {
    let mut answer = echo(message);
    match no {
        NoCall::Unsupported { content_type, era } => {
            let first = if *era == Era::V0 { 'U' } else { 'u' };
            answer.set("content-type", "text/plain");
            answer.body = format!("{first}nsupported Content-Type: {content_type}").into();
            if *era != Era::V0 {
                answer.set_both(ERROR, &format!("unsupported Content-Type: {content_type}"));
            }
        }
        NoCall::Malformed { era: Era::V0, error } => {
            let text = format!("rpc: server cannot decode request: {error}");
            answer.body = match message.subtype().as_deref() {
                Some("json" | "json-rpc") => written(&json_rpc::null(), "{}", &text),
                _ => proto_rpc::write(&Header { error: Some(text), ..Header::default() }, b""),
            };
        }
        NoCall::Malformed { error, .. } => {
            answer.set_both(ERROR, &format!("rpc: router cannot decode request: {error}"));
        }
    }
    answer
}

/// What an answer to `message` begins with: the headers of the message itself, not of an earlier one, and no secret.
fn echo(message: &Message) -> Message {
    let mut answer = Message { headers: message.headers.clone(), ..Message::default() };
    let gone: Vec<_> =
        answer.headers.keys().filter(|name| is_of_connection(name) || is_secret(name)).cloned().collect();
    for name in gone {
        answer.headers.remove(name);
    }
    answer
}

fn is_secret(name: &HeaderName) -> bool {
    matches!(name.as_str(), "authorization" | "cookie" | "set-cookie")
}

fn line(payload: &[u8]) -> bytes::Bytes {
    let payload = payload.trim_ascii_end();
    [payload, b"\n"].concat().into()
}
