//! Clients that mean no good.

use std::io::{Read, Write};
use std::time::Duration;

use crate::face::Face;
use crate::program::Place;
use crate::service::Services;

/// Requests that two servers could read in two ways; each hides another behind it.
const SMUGGLED: [&str; 26] = [
    "POST /foo/x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /foo/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "POST /foo/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
    "POST /foo/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx",
    "POST /foo/x HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
    "POST /foo/x HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\nx",
    "POST /foo/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "POST /foo/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "POST /foo/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST /foo/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "POST /foo/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\r\n : chunked\r\n\r\n0\r\n\r\n",
    "POST /foo/x HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /foo/x HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /foo/x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET /foo/x HTTP/1.1\r\n\r\n",
    "GET /foo/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET /foo/x HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "GET /foo/x HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "GET /foo/x HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n",
    "GET /foo/x HTTP/2.0\r\nHost: a\r\n\r\n",
    "GET /foo/x\r\n\r\n",
    "GET  /foo/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://b/foo/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /foo/../bar HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /foo/x#y HTTP/1.1\r\nHost: a\r\n\r\n",
    "TRACE /foo/x HTTP/1.1\r\nHost: a\r\n\r\n",
];

#[test]
fn no_request_hides_another() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    let face = Face::start(&place, &[]);
    for attack in SMUGGLED {
        let hidden = "GET /foo/hidden HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answer = String::from_utf8_lossy(&face.say(format!("{attack}{hidden}"))).into_owned();
        let first: u16 = answer.split(' ').nth(1).unwrap_or("0").parse().unwrap();
        assert!((400..500).contains(&first), "{attack:?}: {answer}");
        let framing = !attack.starts_with("TRACE") && !attack.contains("..") && !attack.contains("http://b");
        assert!(!framing || !answer.contains("/foo/hidden"), "{attack:?}: {answer}");
    }
    let bad_chunk = "POST /foo/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\nGET /foo/hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(!String::from_utf8_lossy(&face.say(bad_chunk)).contains("/foo/hidden"));
    assert_eq!(face.get("/foo/x").status, 200);
}

#[test]
fn what_is_too_large_is_refused_and_others_are_served() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    let face = Face::start(&place, &[]);
    let many = "X: y\r\n".repeat(1000);
    let long = format!("X: {}\r\n", "y".repeat(1 << 20));
    let cookies = format!("X: {}\r\n", "y".repeat(40_000));
    let answer = face.say(format!("GET /foo/x HTTP/1.1\r\nHost: a\r\n{cookies}\r\n"));
    assert!(answer.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&answer));
    for headers in [many, long] {
        let answer = face.say(format!("GET /foo/x HTTP/1.1\r\nHost: a\r\n{headers}\r\n"));
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert_eq!(face.get("/foo/x").status, 200);
}

/// A frame of HTTP/2.
/// A gateway that has used up its file descriptors says so once, and goes on when there are some again.
#[test]
fn without_descriptors_it_waits_and_says_so_once() {
    let place = Place::new();
    let log = place.path("log");
    let script = "ulimit -n 64; exec \"$0\" api --address 127.0.0.1:0 2>\"$1\"";
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_micro")]).arg(&log);
    let face = Face::running("api", place.spawn(shell.env_clear().env("MICRO_REGISTRY", place.url())));
    face.until("/readyz", 200);
    // The system accepts those that the gateway does not.
    let waiting: Vec<_> = (0..100).map(|_| face.connect()).collect();
    // A gateway that said so at every attempt would have done it twenty times.
    std::thread::sleep(Duration::from_secs(2));
    drop(waiting);
    face.until("/readyz", 200);
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(log.matches("cannot accept connections").count(), 1, "{log}");
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[test]
fn floods_of_frames_are_cut() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    let face = Face::start(&place, &[]);
    assert_eq!(face.get("/foo/x").status, 200);
    let before = face.memory();
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, b"")].concat();
    // :method GET, :scheme http, :path /, and :authority as a literal.
    let head = b"\x82\x86\x84\x41\x01a";
    // Each makes the server reset a stream that the client has opened, which counts as the client's own resets do.
    let provoked = |kind, payload: &[u8]| [frame(1, 4, 0, head), frame(kind, 0, 0, payload)].concat();
    let floods: [(&str, Vec<u8>); 8] = [
        ("ping", frame(6, 0, 0, b"12345678")),
        ("settings", frame(4, 0, 0, b"")),
        ("room for more", frame(8, 0, 0, &[0, 0, 0, 1])),
        ("priority", frame(2, 0, 3, &[0, 0, 0, 0, 1])),
        ("reset", [frame(1, 5, 0, head), frame(3, 0, 0, &[0, 0, 0, 8])].concat()),
        ("reset by a window of nothing", provoked(8, &[0; 4])),
        ("reset by a window too large", provoked(8, &[0x7f, 0xff, 0xff, 0xff])),
        ("continuation", frame(9, 0, 1, b"")),
    ];
    for (name, flood) in floods {
        let mut stream = face.connect();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&preface).unwrap();
        if name == "continuation" {
            stream.write_all(&frame(1, 1, 1, head)).unwrap();
        }
        let mut reader = stream.try_clone().unwrap();
        let reading = std::thread::spawn(move || reader.read_to_end(&mut Vec::new()));
        let mut sent = 0_u32;
        let cut = (0..200_000_u32).any(|at| {
            let mut bytes = flood.clone();
            if name.starts_with("reset") {
                let id = (2 * at + 1).to_be_bytes();
                bytes[5..9].copy_from_slice(&id);
                let second = 9 + head.len();
                bytes[second + 5..second + 9].copy_from_slice(&id);
            }
            sent = at;
            stream.write_all(&bytes).is_err()
        });
        assert!(cut, "{name}: {sent} frames were taken");
        let _ = stream.shutdown(std::net::Shutdown::Both);
        let _ = reading.join().unwrap();
        assert_eq!(face.get("/foo/x").status, 200, "{name}");
    }
    let grown = face.memory().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
}
