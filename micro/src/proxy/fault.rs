//! What a face answers when it, not a service, has something to say: go-micro's error form.

use http::{HeaderValue, Response, StatusCode, header};
use micro_tower::Fault as Said;
use tonic::body::Body;

/// An error as go-micro writes it: `{"id":"go.micro.api","code":404,"detail":"…","status":"Not Found"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(Said);

impl Fault {
    /// An error of the face or service `id`, with `detail` for the reader.
    pub fn new(id: &str, status: StatusCode, detail: impl Into<String>) -> Self {
        Self(Said::new(id, detail, status.as_u16()))
    }

    /// Reads an error that a service wrote so; none where it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Said::parse(text)).filter(|said| said.code >= 400).map(Self)
    }

    /// Its HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.http()
    }

    /// The text that go-micro sends: compact, keys in order, and safe to stand in a page.
    pub fn json(&self) -> String {
        self.0.to_string()
    }

    /// The answer that says it.
    pub fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::new(self.json()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Said> for Fault {
    fn from(said: Said) -> Self {
        Self(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_go_writes_it() {
        let fault = Fault::new("go.micro.api", StatusCode::NOT_FOUND, "no <b> & \"c\"");
        let text = r#"{"id":"go.micro.api","code":404,"detail":"no \u003cb\u003e \u0026 \"c\"","status":"Not Found"}"#;
        assert_eq!(fault.json(), text);
        assert_eq!(Fault::parse(text), Some(fault));
        assert_eq!(Fault::parse(r#"{"code":200}"#), None);
        assert_eq!(Fault::parse("not found"), None);
    }
}
