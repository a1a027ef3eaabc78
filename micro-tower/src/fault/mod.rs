//! go-micro's error, and its way to a gRPC status and an HTTP status and back.

mod details;

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tonic::{Code, Status};

use self::details::{details, found_in};

/// Why a call failed, in go-micro's words: `{"id":"greeter.hello","code":400,"detail":"bad name","status":"Bad
/// Request"}`.
///
/// It becomes a [`Status`] and is read from one, either way without loss: what one side has no word for
/// travels in a field, or in details, that the other side hands through. A fault without id and code is plain
/// text, as go-micro's handlers return it.
///
/// ```
/// use micro_tower::Fault;
/// use tonic::Status;
///
/// let fault = Fault::bad_request("greeter.hello", "bad name");
/// let status = Status::from(fault.clone());
/// assert_eq!(status.code(), tonic::Code::InvalidArgument);
/// assert_eq!(Fault::from(status), fault);
/// assert_eq!(fault.http(), 400);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Fault {
    /// Who says so, as `greeter.hello`; may be empty.
    pub id: String,
    /// An HTTP status; 0 for plain text.
    pub code: i32,
    /// What happened.
    pub detail: String,
    /// The text of the code, as `Bad Request`.
    pub status: String,
    /// What the four fields cannot say of a [`Status`].
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc: Option<Grpc>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Grpc {
    code: i32,
    /// In base64.
    details: String,
}

impl Fault {
    /// A fault of `code`, an HTTP status.
    pub fn new(id: impl Into<String>, detail: impl Into<String>, code: u16) -> Self {
        let status = reason(i32::from(code)).to_owned();
        Self { id: id.into(), code: i32::from(code), detail: detail.into(), status, grpc: None }
    }

    /// Plain text, without id and code.
    pub fn plain(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..Self::default() }
    }

    /// 400: the caller's mistake.
    pub fn bad_request(id: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(id, detail, 400)
    }

    /// 404: there is no such thing.
    pub fn not_found(id: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(id, detail, 404)
    }

    /// 408: it took too long.
    pub fn timeout(id: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(id, detail, 408)
    }

    /// 500: the server's mistake.
    pub fn internal(id: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(id, detail, 500)
    }

    /// Reads what stands in `Micro-Error` or an envelope: its JSON, or else plain text.
    pub fn parse(text: &str) -> Self {
        match serde_json::from_str(text) {
            Ok(fault) if text.trim_start().starts_with('{') => fault,
            _ => Self::plain(text),
        }
    }

    /// Reads the answer of an HTTP server that failed.
    pub fn from_http(status: StatusCode, body: &str) -> Self {
        let mut fault = Self::parse(body);
        if fault.code == 0 {
            fault.code = i32::from(status.as_u16());
            fault.status = reason(fault.code).to_owned();
        }
        fault
    }

    /// The HTTP status that says the same; 500 where the code is none of an error.
    pub fn http(&self) -> StatusCode {
        let code = u16::try_from(self.code).ok().filter(|code| (400..600).contains(code));
        code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Whether there is nothing but text.
    fn is_plain(&self) -> bool {
        self.id.is_empty() && self.code == 0 && self.status.is_empty() && self.grpc.is_none()
    }

    fn grpc_code(&self) -> Code {
        match &self.grpc {
            Some(grpc) => Code::from_i32(grpc.code),
            None => grpc_code(self.code),
        }
    }
}

impl fmt::Display for Fault {
    /// As it stands on the wire: plain text, or JSON with `<`, `>` and `&` escaped, as Go does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_plain() {
            return f.write_str(&self.detail);
        }
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&escape(&json))
    }
}

impl std::error::Error for Fault {}

impl From<&str> for Fault {
    fn from(text: &str) -> Self {
        Self::plain(text)
    }
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self::plain(text)
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        if let Some(grpc) = &fault.grpc {
            let details = STANDARD.decode(&grpc.details).unwrap_or_default();
            return Self::with_details(Code::from_i32(grpc.code), fault.detail, details.into());
        }
        let code = fault.grpc_code();
        let canonical = Fault::of(code, fault.detail.clone());
        if fault == canonical {
            return Self::new(code, fault.detail);
        }
        let message = fault.detail.clone();
        Self::with_details(code, message.clone(), details(code, message, &fault))
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        let (code, message) = (status.code(), status.message());
        let found = match status.details() {
            [] => Some(Self::of(code, message.to_owned())),
            bytes => found_in(bytes),
        };
        let mut fault = found.unwrap_or_else(|| Self::of(code, message.to_owned()));
        let back = Status::from(fault.clone());
        let same = (back.code(), back.message(), back.details()) == (code, message, status.details());
        // An error of a go-micro server in its own details is whole, whatever stands around it.
        if !same && fault.id.is_empty() {
            fault.detail = message.to_owned();
            fault.grpc = Some(Grpc { code: code.into(), details: STANDARD.encode(status.details()) });
        }
        fault
    }
}

impl Fault {
    /// What a code without details says.
    fn of(code: Code, detail: String) -> Self {
        let number = http_code(code);
        if number == 0 {
            return Self::plain(detail);
        }
        let mut fault = Self { detail, code: number, status: reason(number).to_owned(), ..Self::default() };
        if grpc_code(number) != code {
            fault.grpc = Some(Grpc { code: code.into(), details: String::new() });
        }
        fault
    }
}

/// What a caller is told of a handler that panicked.
pub(crate) fn of_panic(panic: &(dyn std::any::Any + Send)) -> Fault {
    let said = panic.downcast_ref::<&str>().copied();
    let said =
        said.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given");
    tracing::error!(panic = said, "a handler panicked");
    Fault::internal("go.micro.server", format!("panic recovered: {said}"))
}

/// go-micro's table, and the codes it has not.
fn grpc_code(http: i32) -> Code {
    match http {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        408 | 504 => Code::DeadlineExceeded,
        409 => Code::AlreadyExists,
        412 => Code::FailedPrecondition,
        429 => Code::ResourceExhausted,
        499 => Code::Cancelled,
        500 => Code::Internal,
        501 => Code::Unimplemented,
        502 | 503 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// The HTTP status of a gRPC code; 0 for what is plain text in go-micro.
fn http_code(code: Code) -> i32 {
    match code {
        Code::Unknown => 0,
        Code::Ok => 200,
        Code::InvalidArgument | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::DeadlineExceeded => 408,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::FailedPrecondition => 412,
        Code::ResourceExhausted => 429,
        Code::Cancelled => 499,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::Internal | Code::DataLoss => 500,
    }
}

/// The text that Go's `http.StatusText` has.
fn reason(code: i32) -> &'static str {
    let known = u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok());
    known.and_then(|status| status.canonical_reason()).unwrap_or_default()
}

/// Go's `encoding/json` escapes what HTML would read.
fn escape(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// R5 of go-micro: a timeout's detail is `<nil>`, which is read and written as it is and never made.
    #[test]
    fn a_fault_stands_on_the_wire_as_go_writes_it() {
        let fault = Fault::bad_request("greeter.hello", "bad name");
        let json = r#"{"id":"greeter.hello","code":400,"detail":"bad name","status":"Bad Request"}"#;
        assert_eq!(fault.to_string(), json);
        assert_eq!(Fault::parse(json), fault);
        assert_eq!(
            Fault::timeout("go.micro.client", "<nil>").to_string().matches("\\u003cnil\\u003e").count(),
            1
        );
        assert_eq!(Fault::plain("plain error").to_string(), "plain error");
        for text in ["plain error", "[1]", "\"a\"", "7", ""] {
            assert_eq!(Fault::parse(text), Fault::plain(text));
        }
    }

    #[test]
    fn every_status_comes_back_whole() {
        for number in 1..17 {
            for details in [&b""[..], b"\x08\x05", b"not protobuf"] {
                let code = Code::from_i32(number);
                let status = Status::with_details(code, "why", Bytes::from_static(details));
                let fault = Fault::from(status);
                let read = Fault::parse(&fault.to_string());
                let back = Status::from(read.clone());
                assert_eq!(
                    (back.code(), back.message(), back.details()),
                    (code, "why", details),
                    "{fault:?}"
                );
                assert_eq!(read, fault);
            }
        }
    }

    #[test]
    fn every_fault_comes_back_whole() {
        for code in [0, 200, 400, 401, 403, 404, 405, 408, 409, 412, 418, 429, 500, 501, 503, 504, 599, -1] {
            for id in ["", "greeter.hello"] {
                for status in ["", "Bad Request", reason(code)] {
                    let (id, detail, status) = (id.to_owned(), "why".to_owned(), status.to_owned());
                    let fault = Fault { id, code, detail, status, grpc: None };
                    assert_eq!(Fault::from(Status::from(fault.clone())), fault);
                }
            }
        }
    }

    #[test]
    fn http_says_the_same_and_back() {
        for code in 400..600 {
            let fault = Fault::new("a", "b", code);
            assert_eq!(fault.http().as_u16(), code);
            assert_eq!(Fault::from_http(fault.http(), &fault.to_string()), fault);
            let bare = Fault::from_http(fault.http(), "down");
            assert_eq!((bare.code, bare.detail.as_str()), (i32::from(code), "down"));
        }
        assert_eq!(Fault::plain("x").http(), 500);
    }
}
