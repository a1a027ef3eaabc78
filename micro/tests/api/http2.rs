//! Requests of HTTP/2 that would be something else in HTTP/1, frame by frame.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::face::Face;
use crate::hostile::frame;
use crate::program::Place;
use crate::service::Services;

/// Headers as HPACK writes them without any table.
pub(crate) fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// What becomes of the one request on a connection: the first byte of its answer's headers, or nothing.
fn outcome(face: &Face, headers: &[(&str, &str)], body: &[u8]) -> Option<u8> {
    let mut stream = face.connect();
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, b"")].concat();
    let end = if body.is_empty() { 1 } else { 0 };
    let mut sent = [preface, frame(1, 4 | end, 1, &block(headers))].concat();
    if !body.is_empty() {
        sent.extend(frame(0, 1, 1, body));
    }
    stream.write_all(&sent).unwrap();
    loop {
        let Frame { kind, id, payload, .. } = next(&mut stream)?;
        match (kind, id) {
            (1, 1) => return payload.iter().copied().find(|byte| byte & 0xe0 != 0x20),
            (3, 1) | (7, _) => return None,
            _ => {}
        }
    }
}

/// A frame: its kind, its flags, its stream and what is in it.
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) id: u32,
    pub(crate) payload: Vec<u8>,
}

/// The next frame. None where the connection has ended.
pub(crate) fn next(stream: &mut TcpStream) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).ok()?;
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
    Some(Frame { kind: head[3], flags: head[4], id, payload })
}

/// `:status: 200`, as every server writes it.
const WELL: u8 = 0x88;

#[test]
fn nothing_in_a_request_of_http2_becomes_another_one_behind_us() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    let face = Face::start(&place, &[]);
    let get =
        |path: &'static str| [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a")];
    let with = |more: &[(&'static str, &'static str)]| [&get("/foo/x")[..], more].concat();
    assert_eq!(face.get("/foo/x").status, 200);
    assert_eq!(outcome(&face, &get("/foo/x"), b""), Some(WELL));
    assert_eq!(outcome(&face, &with(&[("content-length", "1")]), b"x"), Some(WELL));

    let mut attacks = vec![
        with(&[("x", "a\r\nGET /foo/hidden HTTP/1.1\r\nhost: a\r\n\r\n")]),
        with(&[("x", "a\0b")]),
        with(&[("x", "a\nb")]),
        with(&[("x: a\r\ny", "b")]),
        with(&[("X-Upper", "a")]),
        with(&[("x y", "a")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("connection", "keep-alive")]),
        with(&[("upgrade", "websocket")]),
        with(&[("host", "b")]),
        with(&[("content-length", "5")]),
        with(&[(":path", "/foo/y")]),
        with(&[(":unknown", "a")]),
    ];
    for path in
        ["", "foo/x", "/foo/x HTTP/1.1\r\nhost: b\r\n\r\nGET /foo/hidden", "/foo/../bar", "/foo/%2e%2e/x"]
    {
        attacks.push(get(path).to_vec());
    }
    attacks.push(vec![(":method", "GET"), (":scheme", "http"), (":authority", "a")]);
    attacks.push(vec![
        (":method", "GET\r\nx: y"),
        (":scheme", "http"),
        (":path", "/foo/x"),
        (":authority", "a"),
    ]);
    attacks.push(vec![
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/foo/x"),
        (":authority", "a\r\nx: y"),
    ]);
    attacks.push(with(&[("content_length", "5")]));
    attacks.push(with(&[("transfer_encoding", "chunked")]));
    attacks.extend([" a", "a ", "a\t"].map(|blank| with(&[("x", blank)])));
    for attack in attacks {
        assert_ne!(outcome(&face, &attack, b""), Some(WELL), "{attack:?}");
    }
    let twice = with(&[("content-length", "1"), ("content-length", "1")]);
    assert_ne!(outcome(&face, &twice, b"x"), Some(WELL), "the service would see two lengths");
    assert_eq!(outcome(&face, &get("/foo/x"), b""), Some(WELL));
}
