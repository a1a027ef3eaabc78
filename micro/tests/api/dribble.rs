//! Clients that dribble the bodies of their requests, thousands of them to one service.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::Response;
use http_body_util::{BodyExt as _, Collected};
use micro_discover::Service as Record;
use tonic::body::Body;

use crate::face::{Answer, Face, connect_from};
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
    count(&services);
    let face = Face::start(&place, &["--timeout", "300ms"]);
    let post = |more: &str, body: &[u8]| {
        let head = format!("POST /count/x HTTP/1.1\r\nHost: a\r\n{more}\r\n\r\n");
        face.say([head.as_bytes(), body].concat())
    };
    for answer in [
        post("Content-Length: 5", b"hell"),
        // The service has its beginning, and waits for the rest.
        post("Content-Length: 100000", &[b'x'; 50_000]),
        post("Transfer-Encoding: chunked", b"4\r\nhell\r\n"),
    ] {
        let answer = Answer::of(&answer);
        assert_eq!(answer.status, 408, "{answer:?}");
        let fault = answer.json();
        assert_eq!(fault["detail"], "the body did not come within 300ms");
        assert_eq!((&fault["code"], &fault["id"]), (&408.into(), &"go.micro.api".into()));
    }
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

/// A service that answers how long a body was, once it is over.
pub(crate) fn count(services: &Services) {
    services.serve(Record::new("count"), |request| async move {
        let body = request.into_body().collect().await.map(Collected::to_bytes);
        Response::new(Body::new(body.map_or_else(|error| error.to_string(), |body| body.len().to_string())))
    });
}

/// Posts 100 000 bytes in chunks from `address`, as `headers` say: the answer, and how long it took.
fn upload(face: &Face, address: [u8; 4], headers: &str) -> (Answer, Duration) {
    let began = Instant::now();
    let mut stream = connect_from(address, face.address);
    let head = format!(
        "POST /count/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{headers}\r\n"
    );
    let chunk = [&b"c350\r\n"[..], &[b'x'; 50_000], b"\r\n"].concat();
    stream.write_all(&[head.as_bytes(), &chunk, &chunk, b"0\r\n\r\n"].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    (Answer::of(&answer), began.elapsed())
}

/// Has a thousand clients at 127.0.0.2, whose requests say `headers`, send bodies fast enough for as long as they may.
fn crowded(face: &Face, headers: &str, meanwhile: impl FnOnce()) -> Vec<Answer> {
    let head = format!("POST /count/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{headers}\r\n");
    let mut streams: Vec<_> = (0..1_000).map(|_| connect_from([127, 0, 0, 2], face.address)).collect();
    streams.iter_mut().for_each(|stream| stream.write_all(head.as_bytes()).unwrap());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let chunk = [&b"200\r\n"[..], &[b'x'; 512], b"\r\n"].concat();
            while !over.load(Relaxed) {
                // Some have been told that they are too many.
                streams.iter_mut().for_each(|stream| drop(stream.write_all(&chunk)));
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        std::thread::sleep(Duration::from_secs(7));
        meanwhile();
        over.store(true, Relaxed);
        sending.join().unwrap();
    });
    let heard = streams.into_iter().filter_map(|mut stream| {
        stream.set_nonblocking(true).unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        (!heard.is_empty()).then(|| Answer::of(&heard))
    });
    heard.collect()
}

#[test]
fn a_client_who_has_all_of_the_room_for_long_bodies_gives_others_their_share() {
    crowd();
    let place = Place::new();
    let services = Services::new(&place);
    count(&services);
    let face = Face::start(&place, &[]);
    let ended = crowded(&face, "", || {
        for _ in 0..5 {
            let (answer, took) = upload(&face, [127, 0, 0, 3], "");
            assert_eq!((answer.status, answer.text().as_str()), (200, "100000"));
            assert!(took < SOON, "{took:?}");
        }
    });
    assert!((1..10).contains(&ended.len()), "{}", ended.len());
    for answer in ended {
        assert_eq!(answer.status, 429, "{}", answer.text());
        let why = "this client had more than its share of what long bodies may have of the service, and others waited";
        assert_eq!(answer.json()["detail"], why);
    }
}

#[test]
fn clients_behind_a_proxy_that_is_trusted_have_shares_of_their_own() {
    crowd();
    let place = Place::new();
    let services = Services::new(&place);
    count(&services);
    let face = Face::start(&place, &["--trust-forwarded"]);
    crowded(&face, "X-Forwarded-For: 198.51.100.7, 192.0.2.1\r\n", || {
        let (answer, took) = upload(&face, [127, 0, 0, 2], "X-Forwarded-For: 192.0.2.1, 198.51.100.7\r\n");
        assert!(answer.status == 200 && took < SOON, "{took:?} {answer:?}");
    });
}
