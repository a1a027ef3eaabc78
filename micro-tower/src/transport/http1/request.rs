//! Writes a request that has no body, or a short one that is all there.

use http::{Method, Request, header, uri::PathAndQuery};
use http_body::Body;

use super::head::lists;

/// The longest request that is written by who asks: as much goes into the room that the system has for a connection, so it is
/// on its way whether the peer reads or not.
const LONGEST: usize = 16 << 10;

/// A request as it is on the wire.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) bytes: Vec<u8>,
    /// Whether it lets the connection be used again.
    pub(super) keeps: bool,
}

/// How long `request`, which is of path and query only, may be on the wire, where a connection without a task can send it: it
/// is not too long, of a length that is known, and asks for nothing but an answer. Its body may yet turn out not to be there.
pub(super) fn fits<B: Body>(request: &Request<B>) -> Option<usize> {
    let (method, body) = (request.method(), request.body());
    if *method == Method::CONNECT {
        return None;
    }
    let body = if body.is_end_stream() { 0 } else { usize::try_from(body.size_hint().exact()?).ok()? };
    let path = request.uri().path_and_query()?.as_str();
    let mut head = method.as_str().len() + path.len() + 48;
    for (name, value) in request.headers() {
        if *name == header::UPGRADE {
            return None;
        }
        head += name.as_str().len() + value.len() + 4;
    }
    head.checked_add(body).filter(|length| *length <= LONGEST)
}

/// Writes `request`, which fits in `length`, with `body`.
pub(super) fn write<B>(request: &Request<B>, length: usize, body: &[u8]) -> Written {
    let method = request.method();
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let mut bytes = Vec::with_capacity(length);
    for piece in [method.as_str(), " ", path, " HTTP/1.1\r\n"] {
        bytes.extend_from_slice(piece.as_bytes());
    }
    let (mut keeps, mut says_length) = (true, takes_body(method) || !body.is_empty());
    for (name, value) in request.headers() {
        match *name {
            // What a body that is not there is said to be might have the peer wait for it.
            header::CONTENT_LENGTH => {
                says_length = true;
                continue;
            }
            header::TRANSFER_ENCODING => continue,
            header::CONNECTION => keeps &= !lists(value, "close"),
            _ => {}
        }
        line(&mut bytes, name.as_str(), value.as_bytes());
    }
    if says_length {
        line(&mut bytes, header::CONTENT_LENGTH.as_str(), itoa::Buffer::new().format(body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    Written { bytes, keeps }
}

fn line(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    for piece in [name.as_bytes(), b": ", value, b"\r\n"] {
        bytes.extend_from_slice(piece);
    }
}

/// Whether a server may expect a body, and is told that there is none:
/// <https://www.rfc-editor.org/rfc/rfc9110#section-8.6-5>.
fn takes_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use bytes::Bytes;
    use http_body::{Frame, SizeHint};
    use http_body_util::Full;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn written(request: http::request::Builder, body: &'static str) -> Option<(String, bool)> {
        let request = request.body(Full::new(body.as_bytes())).unwrap();
        let longest = fits(&request)?;
        let written = write(&request, longest, body.as_bytes());
        assert!(written.bytes.len() <= longest, "there is room for it");
        Some((String::from_utf8(written.bytes).unwrap(), written.keeps))
    }

    fn text(request: http::request::Builder) -> String {
        written(request, "").unwrap().0
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
    fn a_body_stands_behind_its_length_whatever_was_said_of_it() {
        for said in ["content-length", "transfer-encoding", "x"] {
            let request = Request::put("/").header(said, "7").header("connection", "close");
            let other = if said == "x" { "x: 7\r\n" } else { "" };
            let text = format!("PUT / HTTP/1.1\r\n{other}connection: close\r\ncontent-length: 4\r\n\r\nbody");
            assert_eq!(written(request, "body"), Some((text, false)));
        }
    }

    #[test]
    fn a_request_may_ask_for_its_connection_to_be_closed() {
        let asks =
            |value: &'static str| written(Request::get("/").header("connection", value), "").unwrap().1;
        assert!(asks("keep-alive") && asks("x-close"));
        assert!(!asks("close") && !asks("x, Close"));
    }

    #[test]
    fn what_is_more_than_a_short_request_is_not_written_here() {
        assert!(written(Request::get("/").header("x", "x".repeat(LONGEST)), "").is_none());
        assert!(written(Request::get("/").header("upgrade", "websocket"), "").is_none());
        assert!(written(Request::builder().method("CONNECT").uri("a:1"), "").is_none());
        let fits = |length: u64, exact: bool| {
            let mut hint = SizeHint::new();
            hint.set_lower(length);
            if exact {
                hint.set_exact(length);
            }
            fits(&Request::get("/").body(Hinted(hint)).unwrap()).is_some()
        };
        assert!(fits(LONGEST as u64 - 100, true) && !fits(LONGEST as u64, true));
        assert!(!fits(u64::MAX, true) && !fits(1, false), "and so is what may be long");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_what_was_asked(
            method in "[A-Z]{1,9}",
            path in "/[a-z0-9%/?=&]{0,20}",
            headers in vec(("(x-[a-z]{1,3}|content-length|transfer-encoding|te|expect)", "[ -~]{0,12}"), 0..8),
            body in vec(any::<u8>(), 0..100),
        ) {
            prop_assume!(method != "CONNECT");
            let mut request = Request::builder().method(&*method).uri(&path);
            for (name, value) in &headers {
                request = request.header(name, value);
            }
            let request = request.body(Full::new(Bytes::from(body.clone()))).unwrap();
            let longest = fits(&request).unwrap();
            let written = write(&request, longest, &body).bytes;
            prop_assert!(written.len() <= longest);

            let mut room = [httparse::EMPTY_HEADER; 16];
            let mut read = httparse::Request::new(&mut room);
            let head = read.parse(&written).unwrap().unwrap();
            prop_assert_eq!((read.method, read.path), (Some(&*method), request.uri().path_and_query().map(PathAndQuery::as_str)));
            let lines = read.headers.iter().map(|line| (line.name.to_owned(), line.value.to_vec()));
            let (lengths, mut others): (Vec<_>, Vec<_>) = lines.partition(|(name, _)| name == "content-length");
            let says = headers.iter().any(|(name, _)| name == "content-length");
            let says = says || !body.is_empty() || matches!(&*method, "POST" | "PUT" | "PATCH");
            let length = ("content-length".to_owned(), body.len().to_string().into_bytes());
            prop_assert_eq!(lengths, if says { [length].to_vec() } else { [].to_vec() });
            let kept = request.headers().iter().filter(|(name, _)| {
                **name != header::CONTENT_LENGTH && **name != header::TRANSFER_ENCODING
            });
            // A parser takes the spaces around a value away.
            let mut asked: Vec<_> = kept
                .map(|(name, value)| (name.to_string(), value.as_bytes().trim_ascii().to_vec()))
                .collect();
            others.iter_mut().for_each(|(_, value)| *value = value.trim_ascii().to_vec());
            others.sort();
            asked.sort();
            prop_assert_eq!(others, asked);
            prop_assert_eq!(&written[head..], &body[..]);
        }
    }

    /// A body that nobody has read.
    struct Hinted(SizeHint);

    impl Body for Hinted {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }

        fn size_hint(&self) -> SizeHint {
            self.0
        }
    }
}
