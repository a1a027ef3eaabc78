//! Writes the head of a request that has no body.

use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body::Body;

use super::head::lists;

/// The longest head that is written by who asks: as much goes into the room that the system has for a connection, so it is
/// on its way whether the peer reads or not.
const LONGEST: usize = 16 << 10;

/// The head of a request.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) head: Vec<u8>,
    /// Whether it lets the connection be used again.
    pub(super) keeps: bool,
}

/// What `request`, which is of path and query only, is on the wire, where a connection without a task can send it: it has no
/// body, is not too long, and asks for nothing but an answer.
pub(super) fn write<B: Body>(request: &Request<B>) -> Option<Written> {
    let method = request.method();
    if !request.body().is_end_stream() || *method == Method::CONNECT {
        return None;
    }
    let path = request.uri().path_and_query()?.as_str();
    let lines = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let length = method.as_str().len() + path.len() + 32 + lines.sum::<usize>();
    if length > LONGEST {
        return None;
    }
    let mut head = Vec::with_capacity(length);
    for piece in [method.as_str(), " ", path, " HTTP/1.1\r\n"] {
        head.extend_from_slice(piece.as_bytes());
    }
    let (mut keeps, mut empty) = (true, takes_body(method));
    for (name, value) in request.headers() {
        match *name {
            header::UPGRADE => return None,
            // What a body that is not there is said to be might have the peer wait for it.
            header::CONTENT_LENGTH => empty = true,
            header::TRANSFER_ENCODING => continue,
            header::CONNECTION => keeps &= !lists(value, "close"),
            _ => {}
        }
        if *name != header::CONTENT_LENGTH {
            line(&mut head, name, value);
        }
    }
    head.extend_from_slice(if empty { b"content-length: 0\r\n\r\n" } else { b"\r\n" });
    Some(Written { head, keeps })
}

fn line(head: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    head.extend_from_slice(name.as_str().as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value.as_bytes());
    head.extend_from_slice(b"\r\n");
}

/// Whether a server may expect a body, and is told that there is none:
/// <https://www.rfc-editor.org/rfc/rfc9110#section-8.6-5>.
fn takes_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;

    fn written(request: http::request::Builder) -> Option<(String, bool)> {
        let written = write(&request.body(Empty::<&[u8]>::new()).unwrap())?;
        Some((String::from_utf8(written.head).unwrap(), written.keeps))
    }

    fn text(request: http::request::Builder) -> String {
        written(request).unwrap().0
    }

    #[test]
    fn a_head_has_each_header_on_a_line_of_its_own() {
        let request = Request::get("/a?b=c").header("host", "x").header("x-a", "1").header("x-a", "2");
        assert_eq!(text(request), "GET /a?b=c HTTP/1.1\r\nhost: x\r\nx-a: 1\r\nx-a: 2\r\n\r\n");
    }

    #[test]
    fn a_body_that_is_not_there_is_said_to_be_empty_or_nothing() {
        let said = |method: &str| Request::builder().method(method).uri("/");
        assert_eq!(text(said("DELETE")), "DELETE / HTTP/1.1\r\n\r\n");
        assert_eq!(text(said("POST")), "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n");
        let long = said("GET").header("content-length", "7").header("transfer-encoding", "chunked");
        assert_eq!(text(long), "GET / HTTP/1.1\r\ncontent-length: 0\r\n\r\n");
    }

    #[test]
    fn a_request_may_ask_for_its_connection_to_be_closed() {
        let asks = |value: &'static str| written(Request::get("/").header("connection", value)).unwrap().1;
        assert!(asks("keep-alive") && asks("x-close"));
        assert!(!asks("close") && !asks("x, Close"));
    }

    #[test]
    fn what_is_more_than_a_short_head_is_not_written_here() {
        assert!(written(Request::get("/").header("x", "x".repeat(LONGEST))).is_none());
        assert!(written(Request::get("/").header("upgrade", "websocket")).is_none());
        assert!(written(Request::builder().method("CONNECT").uri("a:1")).is_none());
        assert!(write(&Request::get("/").body(Full::new(&b"x"[..])).unwrap()).is_none());
    }
}
