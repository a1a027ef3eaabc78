//! Clients that dribble the bodies of their requests, thousands of them to one service.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use http::Response;
use micro_discover::Service as Record;
use tonic::body::Body;

use crate::face::{Answer, Face};
use crate::heavy::{MIB, THREADS, crowd};
use crate::hostile::frame;
use crate::http2::block;
use crate::program::Place;
use crate::service::Services;

/// How long an honest request may take on a busy machine. Whoever waited for dribblers would wait for five seconds and more.
const SOON: Duration = Duration::from_secs(4);

/// How a client dribbles.
#[derive(Clone, Copy)]
enum Kind {
    /// A body that says how long it is.
    Length,
    /// One in chunks.
    Chunks,
    /// One that has begun well.
    Begun,
    /// Two hundred streams of HTTP/2.
    Streams,
}

impl Kind {
    /// What it says at first.
    fn start(self) -> Vec<u8> {
        let post = |more: &str| format!("POST /echo/x HTTP/1.1\r\nHost: a\r\n{more}\r\n\r\n").into_bytes();
        match self {
            Self::Length => [&post("Content-Length: 100000")[..], b"X"].concat(),
            Self::Chunks => [&post("Transfer-Encoding: chunked")[..], b"1\r\nX\r\n"].concat(),
            Self::Begun => [&post("Content-Length: 100000")[..], &[b'X'; 20_000]].concat(),
            Self::Streams => {
                let head = |more: &[(&str, &str)]| {
                    let head =
                        [(":method", "POST"), (":scheme", "http"), (":path", "/echo/x"), (":authority", "a")];
                    block(&[&head[..], more].concat())
                };
                let mut said = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, b"")].concat();
                for at in 0..200 {
                    let more: &[(&str, &str)] =
                        if at % 2 == 0 { &[] } else { &[("content-length", "100000")] };
                    said.extend(frame(1, 4, 2 * at + 1, &head(more)));
                    said.extend(frame(0, 0, 2 * at + 1, b"X"));
                }
                said
            }
        }
    }
}

fn dribbler(face: &Face, kind: Kind) -> TcpStream {
    let mut stream = face.connect();
    // The gateway may be rid of it by now.
    let _ = stream.write_all(&kind.start());
    stream
}

#[test]
fn thousands_who_dribble_bodies_to_a_service_keep_nobody_else_from_it() {
    let crowd = crowd();
    let place = Place::new();
    let services = Services::new(&place);
    services.echo("echo");
    let face = Face::start(&place, &[]);
    let post = |body: &[u8]| {
        let began = Instant::now();
        let answer = face.ask("POST", "/echo/x", "", body);
        assert_eq!((answer.status, answer.body.len()), (200, body.len()), "{}", answer.text());
        began.elapsed()
    };
    post(b"hello");
    let before = face.memory();
    let kinds = [Kind::Length, Kind::Chunks, Kind::Begun, Kind::Chunks];
    let part = || -> Vec<TcpStream> {
        let kinds = kinds.iter().cycle().take(crowd / THREADS).chain([&Kind::Streams]);
        kinds.map(|kind| dribbler(&face, *kind)).collect()
    };
    let slow: Vec<_> = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..THREADS).map(|_| scope.spawn(part)).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    let (came, mut longest) = (Instant::now(), Duration::ZERO);
    while came.elapsed() < Duration::from_secs(8) {
        // In pieces that come one after another, and too long for one piece.
        longest = longest.max(post(b"hello")).max(post(&[b'x'; 12_000]));
    }
    let grown = face.memory().saturating_sub(before);
    println!("{} dribble, {longest:?} at most, {grown} bytes", slow.len());
    assert!(longest < SOON, "{longest:?}");
    assert!(grown < 64 * MIB + 32_768 * (crowd + 200 * THREADS) as u64, "{grown} bytes more");
}

#[test]
fn a_body_that_does_not_come_is_the_clients_fault_and_said_to_be() {
    let place = Place::new();
    let services = Services::new(&place);
    services.echo("echo");
    let face = Face::start(&place, &["--timeout", "300ms"]);
    let answer = face.say("POST /echo/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell");
    let answer = Answer::of(&answer);
    assert_eq!(answer.status, 408, "{answer:?}");
    let fault = answer.json();
    assert_eq!(fault["detail"], "the body did not come within 300ms");
    assert_eq!((&fault["code"], &fault["id"]), (&408.into(), &"go.micro.api".into()));
}

#[test]
fn a_service_has_all_of_its_time_after_a_body_that_took_long() {
    let place = Place::new();
    let services = Services::new(&place);
    services.serve(Record::new("thorough"), |_| async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Response::new(Body::empty())
    });
    let face = Face::start(&place, &["--timeout", "3s"]);
    let mut stream = face.connect();
    let head = "POST /thorough/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhell";
    stream.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    stream.write_all(b"o").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(Answer::of(&answer).status, 200);
}

#[test]
fn whoever_asks_first_is_told_to_go_on_before_a_service_has_the_request() {
    let place = Place::new();
    let services = Services::new(&place);
    services.echo("echo");
    let face = Face::start(&place, &[]);
    let mut stream = face.connect();
    let head = "POST /echo/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut told = [0; 25];
    stream.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(Answer::of(&answer).text(), "hello");
}
