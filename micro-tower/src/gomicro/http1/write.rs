//! Writes messages byte for byte as Go's `net/http` does.

use std::fmt::Write as _;

use http::HeaderMap;

use crate::gomicro::Message;

/// `message` as Go's server answers it.
pub(crate) fn response(message: &Message) -> Vec<u8> {
    let length = message.body.len();
    let mut text = String::from("HTTP/1.1 200 OK\r\n");
    if length > 0 {
        let _ = write!(text, "Content-Length: {length}\r\n");
    }
    let mut bytes = text.into_bytes();
    write_headers(&mut bytes, &message.headers);
    // Go writes it last where there is nothing.
    bytes.extend_from_slice(if length > 0 { b"\r\n" } else { b"Content-Length: 0\r\n\r\n" });
    bytes.extend_from_slice(&message.body);
    bytes
}

/// `message` as Go's client sends it to `host`.
pub(crate) fn request(host: &str, agent: &str, message: &Message) -> Vec<u8> {
    let mut text = format!("POST / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n");
    let empty = message.body.is_empty();
    let _ = match message.body.len() {
        0 => write!(text, "Transfer-Encoding: chunked\r\n"),
        length => write!(text, "Content-Length: {length}\r\n"),
    };
    let mut bytes = text.into_bytes();
    write_headers(&mut bytes, &message.headers);
    bytes.extend_from_slice(if empty { b"\r\n0\r\n\r\n" } else { b"\r\n" });
    bytes.extend_from_slice(&message.body);
    bytes
}

/// Sorted, in Go's canonical case.
fn write_headers(bytes: &mut Vec<u8>, headers: &HeaderMap) {
    let mut lines: Vec<_> = headers.iter().map(|(name, value)| (canonical(name.as_str()), value)).collect();
    lines.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (name, value) in lines {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
}

/// `x-micro-id` as `X-Micro-Id`.
pub(crate) fn canonical(name: &str) -> String {
    let mut start = true;
    let letter = |c: char| {
        let c = if start { c.to_ascii_uppercase() } else { c };
        start = c == '-';
        c
    };
    name.chars().map(letter).collect()
}
