//! Services whose HTTP/2 is odd, frame by frame: they refuse, leave, allow little, or say what cannot be read.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use micro_discover::{Endpoint, Service as Record};

use crate::face::{Answer, Face};
use crate::hostile::frame;
use crate::http2::{block, next};
use crate::program::Place;
use crate::service::Services;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

/// A request as such a service sees it: on this connection, in this stream, the how-manieth there.
struct Asked<'a> {
    connection: &'a mut TcpStream,
    stream: u32,
    nth: usize,
}

impl Asked<'_> {
    fn say(&mut self, kind: u8, flags: u8, payload: &[u8]) {
        let _ = self.connection.write_all(&frame(kind, flags, self.stream, payload));
    }

    /// Says something about the connection.
    fn announce(&mut self, kind: u8, payload: &[u8]) {
        let _ = self.connection.write_all(&frame(kind, 0, 0, payload));
    }
}

/// What is done with a request.
enum Does {
    /// It is answered once it is whole.
    Answer,
    /// What was to be said is said.
    Nothing,
    /// No more is taken on its connection, itself included; what came before is answered.
    Leave,
}

/// What a service does with each request.
type Doing = fn(Asked<'_>) -> Does;

/// How many streams there may be at a time, as SETTINGS say it.
fn allowed(streams: u32) -> Vec<u8> {
    [&[0, 3][..], &streams.to_be_bytes()].concat()
}

/// A server that allows `streams` at first, and its address. It counts what it answers of
/// [`all_are_answered_once`]: the gateway has questions of its own.
fn server(streams: u32, does: Doing) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, done) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = done.clone();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let counted = counted.clone();
            std::thread::spawn(move || converse(connection.unwrap(), streams, does, &counted));
        }
    });
    (address, done)
}

/// Serves one connection to its end.
fn converse(mut connection: TcpStream, streams: u32, does: Doing, done: &AtomicUsize) {
    let mut preface = [0; 24];
    if connection.read_exact(&mut preface).is_err() || !preface.starts_with(b"PRI") {
        return;
    }
    let _ = connection.write_all(&frame(SETTINGS, 0, 0, &allowed(streams)));
    let (mut nth, mut leaving, mut taken) = (0, false, HashSet::new());
    while let Some(heard) = next(&mut connection) {
        match heard.kind {
            SETTINGS if heard.flags & ACK == 0 => {
                let _ = connection.write_all(&frame(SETTINGS, ACK, 0, b""));
            }
            PING if heard.flags & ACK == 0 => {
                let _ = connection.write_all(&frame(PING, ACK, 0, &heard.payload));
            }
            HEADERS if !leaving => {
                nth += 1;
                match does(Asked { connection: &mut connection, stream: heard.id, nth }) {
                    Does::Answer => _ = taken.insert(heard.id),
                    Does::Nothing => {}
                    Does::Leave => leaving = true,
                }
            }
            _ => {}
        }
        let whole = matches!(heard.kind, HEADERS | DATA) && heard.flags & END_STREAM != 0;
        if whole && taken.remove(&heard.id) {
            done.fetch_add(usize::from(heard.payload == BODY), Relaxed);
            let _ = connection.write_all(&answer(heard.id));
        }
        if leaving && taken.is_empty() {
            // What was said is read before the end of the connection is.
            let _ = connection.shutdown(std::net::Shutdown::Write);
            let _ = std::io::copy(&mut connection, &mut std::io::sink());
            return;
        }
    }
}

fn answer(stream: u32) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, &block(&[(":status", "200")]));
    [head, frame(DATA, END_STREAM, stream, b"ok")].concat()
}

const BODY: &[u8] = b"a body that is asked for once";

/// Announces servers of HTTP/2 as the service `name`.
fn announce(services: &Services, name: &str, addresses: &[SocketAddr]) {
    let endpoint =
        |address: &SocketAddr| Endpoint::new(address.to_string(), address.to_string().parse().unwrap());
    let record = Record::new(name).metadata("protocol", "h2c");
    let record = addresses.iter().map(endpoint).fold(record, Record::endpoint);
    services.runtime.block_on(services.registry.announce(&record, Duration::ZERO)).unwrap();
}

/// Refuses some requests, and none of them twice: so far apart no two are the same.
fn refuses(mut asked: Asked<'_>) -> Does {
    if asked.nth % 40 != 5 {
        return Does::Answer;
    }
    asked.say(RESET, 0, &REFUSED_STREAM.to_be_bytes());
    Does::Nothing
}

/// Answers some requests, and leaves when there is one more, which it says it has not looked at: who comes again with it is
/// among the first of the next connection.
fn leaves(mut asked: Asked<'_>) -> Does {
    if asked.nth < 25 {
        return Does::Answer;
    }
    let last = (asked.stream - 2).to_be_bytes();
    asked.announce(GOAWAY, &[&last[..], &[0; 4]].concat());
    Does::Leave
}

/// Takes its time.
fn answers_slowly(_: Asked<'_>) -> Does {
    std::thread::sleep(Duration::from_millis(5));
    Does::Answer
}

/// Allows no stream for a while, again and again.
fn pauses(mut asked: Asked<'_>) -> Does {
    if asked.nth % 10 == 3 {
        asked.announce(SETTINGS, &allowed(0));
        std::thread::sleep(Duration::from_millis(100));
        asked.announce(SETTINGS, &allowed(100));
    }
    Does::Answer
}

/// Posts by many clients at a time, which nobody may repeat who is not sure. All are answered, and done once.
fn all_are_answered_once(face: &Face, name: &str, done: &AtomicUsize) {
    let path = format!("/{name}/x");
    face.until(&path, 200);
    let post = || (0..15).map(|_| face.ask("POST", &path, "", BODY)).collect::<Vec<_>>();
    let answers = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(post)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    for answer in &answers {
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{name}: {answer:?}");
    }
    assert_eq!(done.load(Relaxed), answers.len(), "{name}");
}

#[test]
fn what_a_service_did_not_look_at_is_sent_again_and_what_it_did_is_not() {
    let place = Place::new();
    let services = Services::new(&place);
    let cases: [(&str, u32, Doing); 4] = [
        ("refuses", 100, refuses),
        ("leaves", 100, leaves),
        ("one", 1, answers_slowly),
        ("pauses", 100, pauses),
    ];
    let counts = cases.map(|(name, streams, does)| {
        let (address, answered) = server(streams, does);
        announce(&services, name, &[address]);
        answered
    });
    let face = Face::start(&place, &[]);
    for ((name, ..), answered) in cases.iter().zip(&counts) {
        all_are_answered_once(&face, name, answered);
    }
}

#[test]
fn one_that_allows_no_stream_takes_no_request() {
    let place = Place::new();
    let services = Services::new(&place);
    let (none, never) = server(0, answers_slowly);
    let (good, answered) = server(100, answers_slowly);
    announce(&services, "none", &[none]);
    announce(&services, "some", &[none, good]);
    let face = Face::start(&place, &[]);
    all_are_answered_once(&face, "some", &answered);
    let began = Instant::now();
    let answer = face.get("/none/x");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.text().contains("it allows no streams"), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(never.load(Relaxed), 0);
}

#[test]
fn what_is_no_http2_is_said_to_be_none_and_an_end_that_is_one_goes_through() {
    let place = Place::new();
    let services = Services::new(&place);
    let cases: [(&str, Doing); 4] = [
        ("split", |mut asked| {
            let head = [(":status", "200"), ("x", "a\r\nb: c")];
            asked.say(HEADERS, END_HEADERS | END_STREAM, &block(&head));
            Does::Nothing
        }),
        ("nothing", |mut asked| {
            asked.say(HEADERS, END_HEADERS | END_STREAM, &block(&[("x", "y")]));
            Does::Nothing
        }),
        ("broken", |asked| {
            let head = frame(HEADERS, END_HEADERS, asked.stream, &block(&[(":status", "200")]));
            let reset = frame(RESET, 0, asked.stream, &INTERNAL_ERROR.to_be_bytes());
            let _ = asked.connection.write_all(&[head, reset].concat());
            Does::Nothing
        }),
        ("part", |asked| {
            let head = frame(HEADERS, END_HEADERS, asked.stream, &block(&[(":status", "200")]));
            let reset = frame(RESET, 0, asked.stream, &INTERNAL_ERROR.to_be_bytes());
            let all = [head, frame(DATA, 0, asked.stream, b"in part"), reset].concat();
            let _ = asked.connection.write_all(&all);
            Does::Nothing
        }),
    ];
    for (name, does) in cases {
        announce(&services, name, &[server(100, does).0]);
    }
    let (trailers, _) = server(100, |mut asked| {
        let head = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "5")];
        asked.say(HEADERS, END_HEADERS | END_STREAM, &block(&head));
        Does::Nothing
    });
    announce(&services, "trailers", &[trailers]);
    let face = Face::start(&place, &["--timeout", "10s"]);
    for (name, why) in
        [("split", "not valid HTTP/2"), ("nothing", "not valid HTTP/2"), ("broken", "broke off its answer")]
    {
        let answer = face.ask("POST", &format!("/{name}/x"), "", b"x");
        assert_eq!(answer.status, 502, "{name}: {answer:?}");
        assert!(answer.text().contains(why), "{name}: {answer:?}");
    }
    let part =
        face.say("POST /part/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx");
    let said = Answer::of(&part);
    assert_eq!((said.status, said.text().as_str()), (200, "in part"), "{said:?}");
    assert!(!part.ends_with(b"0\r\n\r\n"), "nobody said that it was all: {said:?}");
    let call = face.ask("POST", "/trailers.Trailers/Ask", "content-type: application/grpc\r\n", &[0; 5]);
    assert_eq!((call.status, call.header("grpc-status")), (200, Some("5")), "{call:?}");
}
