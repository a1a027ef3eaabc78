//! Clients that have more pages of the dashboard open than anybody looks at.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::face::{Answer, Face, connect_from};
use crate::program::Place;

/// A connection from 127.0.0.`last`, on which `path` has been asked for.
fn ask(face: &Face, last: u8, path: &str) -> TcpStream {
    let mut stream = connect_from([127, 0, 0, last], face.address);
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    stream
}

/// The same, once its answer has begun, and with which status.
fn follow(face: &Face, last: u8, path: &str) -> (u16, TcpStream) {
    let mut stream = ask(face, last, path);
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    (std::str::from_utf8(&head[9..]).unwrap().parse().unwrap(), stream)
}

fn answer(mut stream: TcpStream) -> Answer {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    Answer::of(&answer)
}

#[test]
fn who_follows_pages_without_end_is_told_to_close_some_and_keeps_nobody_from_theirs() {
    let place = Place::new();
    let face = Face::of(&place, "web", &[]);
    let paths = ["/live/services", "/live/topology", "/tap/stream", "/live/registry"];
    let granted = |last: u8, at: usize| {
        let (status, stream) = follow(&face, last, paths[at % paths.len()]);
        assert_eq!(status, 200, "127.0.0.{last}, {at}");
        stream
    };
    let mut greedy: Vec<_> = (0..128).map(|at| granted(2, at)).collect();
    for path in paths.into_iter().chain(["/events/stream?topic=x", "/live/services/nobody"]) {
        let refused = answer(ask(&face, 2, path));
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("10")), "{path}: {refused:?}");
        let why = "128 pages at this address follow the dashboard already: close some, or try again later\n";
        assert_eq!(refused.text(), why);
    }
    assert_eq!(answer(ask(&face, 2, "/")).status, 200, "the page itself");
    let others: Vec<_> = (0..128).map(|at| granted(3, at)).collect();
    let refused = answer(ask(&face, 4, "/live/services"));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.text().starts_with("256 pages follow the dashboard already"), "{refused:?}");

    drop(greedy.pop());
    // The dashboard hears of it a moment later.
    while follow(&face, 4, "/live/services").0 != 200 {
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(others);
}
