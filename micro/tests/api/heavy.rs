//! Clients that want more than their share: bodies that are bombs, and thousands who are slow.

use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::Frame;
use http_body_util::StreamBody;
use micro_discover::Service as Record;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use tonic::body::Body;

use crate::face::{Answer, Face};
use crate::hostile::frame;
use crate::http2::block;
use crate::program::Place;
use crate::service::Services;
use crate::shop;

pub(crate) const MIB: u64 = 1 << 20;
/// How many threads it takes to make thousands of connections soon.
pub(crate) const THREADS: usize = 20;

/// gzip of 200 MiB of nothing, in some hundred KiB.
fn bomb() -> Vec<u8> {
    let mut part = GzEncoder::new(Vec::new(), Compression::best());
    part.write_all(&[0; 1 << 20]).unwrap();
    // Several of them in a row are one file.
    part.finish().unwrap().repeat(200)
}

#[test]
fn what_is_small_and_would_be_large_stays_small() {
    let (_place, services, face) = shop::behind_a_gateway();
    services.echo("echo");
    let (bomb, before) = (bomb(), face.memory());
    let gzip = "content-encoding: gzip\r\n";
    // Whoever makes a message of a body says that it reads none that is compressed.
    for path in ["/v1/items/x", "/shop.v1.Shop/Get", "/shop/shop/get", "/rpc"] {
        let method = if path.starts_with("/v1") { "PUT" } else { "POST" };
        let json = format!("content-type: application/json\r\n{gzip}");
        let answer = face.ask(method, path, &json, &bomb);
        assert_eq!(
            (answer.status, answer.header("accept-encoding")),
            (415, Some("identity")),
            "{path}: {answer:?}"
        );
    }
    // Whoever passes it on, passes it on as it is.
    let passed = face.ask("POST", "/echo/x", gzip, &bomb);
    assert!(passed.status == 200 && passed.body == bomb, "{}", passed.head);
    let grown = face.memory().saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes more");
}

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_there() {
    let (_place, services, face) = shop::behind_a_gateway();
    services.echo("echo");
    let before = face.memory();
    let mut stream = face.connect();
    let head = "PUT /v1/items/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 73400320\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let taken = (0..70).take_while(|_| stream.write_all(&[b' '; 1 << 20]).is_ok()).count();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || Answer::of(&answer).status == 413, "{taken} MiB: {answer:?}");
    let grown = face.memory().saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes more");
    assert_eq!(face.get("/echo/x").status, 200);
}

/// A service of as much as anybody reads, up to a gigabyte for each. It counts what is taken from it.
fn endless(services: &Services, record: Record) -> Arc<AtomicU64> {
    let taken = Arc::new(AtomicU64::new(0));
    let counted = taken.clone();
    services.serve(record, move |_| {
        let counted = counted.clone();
        let parts = (0..16_384).map(move |_| {
            counted.fetch_add(64 << 10, Relaxed);
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 64 << 10])))
        });
        async move { http::Response::new(Body::new(StreamBody::new(tokio_stream::iter(parts)))) }
    });
    taken
}

/// The same behind a WebSocket.
fn endless_socket(services: &Services, name: &str) -> Arc<AtomicU64> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    services.announce(name, listener.local_addr().unwrap());
    let taken = Arc::new(AtomicU64::new(0));
    let counted = taken.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, counted) = (stream.unwrap(), counted.clone());
            std::thread::spawn(move || {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head);
                let upgrade =
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                let _ = stream.write_all(upgrade.as_bytes());
                while counted.load(Relaxed) < 1 << 30 && stream.write_all(&[0; 64 << 10]).is_ok() {
                    counted.fetch_add(64 << 10, Relaxed);
                }
            });
        }
    });
    taken
}

#[test]
fn who_does_not_read_is_sent_what_fits_on_the_way_and_no_more() {
    const CLIENTS: u64 = 8;
    let place = Place::new();
    let services = Services::new(&place);
    let plain = endless(&services, Record::new("plain"));
    let multiplexed = endless(&services, Record::new("multiplexed").metadata("protocol", "h2c"));
    let socket = endless_socket(&services, "socket");
    services.mirror("foo");
    let face = Face::start(&place, &[]);
    assert_eq!(face.get("/foo/x").status, 200);
    let before = face.memory();
    let http1 = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\n{more}\r\n").into_bytes();
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let head =
        block(&[(":method", "GET"), (":scheme", "http"), (":path", "/multiplexed/x"), (":authority", "a")]);
    let http2 =
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, b""), &frame(1, 5, 1, &head)].concat();
    let asked = [http1("/plain/x", ""), http1("/multiplexed/x", ""), http1("/socket/x", upgrade), http2];
    let clients: Vec<_> = (0..CLIENTS)
        .flat_map(|_| &asked)
        .map(|asked| {
            let mut stream = face.connect();
            stream.write_all(asked).unwrap();
            stream
        })
        .collect();
    // Until nobody takes any more.
    let taken = || [&plain, &multiplexed, &socket].map(|taken| taken.load(Relaxed));
    let mut seen = taken();
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = taken();
        if now == seen && now.iter().all(|taken| *taken > 0) {
            break;
        }
        seen = now;
    }
    // Buffers of the system on either side are most of it.
    assert!(seen.iter().all(|taken| *taken < 2 * CLIENTS * 32 * MIB), "{seen:?}");
    let grown = face.memory().saturating_sub(before);
    assert!(grown < 32 * MIB, "{grown} bytes more for {seen:?}");
    assert_eq!(face.get("/foo/x").status, 200);
    drop(clients);
}

/// How many clients this process and the gateway's may have at a time: two thousand, if they may open as many files.
/// More take longer to connect than the gateway leaves them.
pub(crate) fn crowd() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // What is set for this process holds for the gateway that it starts, too.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(most.saturating_sub(500).min(2000)).unwrap()
}

/// A client that takes its time.
struct Slow {
    stream: TcpStream,
    dribbles: bool,
}

impl Slow {
    fn new(face: &Face, start: &str) -> Self {
        let mut stream = face.connect();
        stream.write_all(start.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self { stream, dribbles: !start.is_empty() }
    }

    /// Says a little more, if it says anything. Whether the connection is still there.
    fn goes_on(&mut self) -> bool {
        let waits = |error: std::io::Error| error.kind() == ErrorKind::WouldBlock;
        if self.dribbles && self.stream.write(b"X").is_err_and(|error| !waits(error)) {
            return false;
        }
        match self.stream.read(&mut [0; 1000]) {
            Ok(read) => read > 0,
            Err(error) => waits(error),
        }
    }
}

#[test]
fn thousands_who_dribble_or_say_nothing_are_cut_while_others_are_served() {
    let crowd = crowd();
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    services.echo("echo");
    let face = Face::start(&place, &[]);
    assert_eq!(face.get("/foo/x").status, 200);
    let before = face.memory();
    let starts = [
        "",
        "GET /foo/x HTTP/1.1\r\nHost: a\r\n",
        "POST /echo/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
    ];
    // Many at a time: one whom the gateway cannot take at once is tried again by the system a second later.
    let part = || -> Vec<Slow> {
        starts.iter().cycle().take(crowd / THREADS).map(|start| Slow::new(&face, start)).collect()
    };
    let mut slow: Vec<_> = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..THREADS).map(|_| scope.spawn(part)).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    let (came, mut most) = (Instant::now(), 0);
    while !slow.is_empty() {
        assert!(came.elapsed() < Duration::from_secs(60), "{} are still there", slow.len());
        slow.retain_mut(Slow::goes_on);
        assert_eq!(face.get("/foo/x").status, 200);
        most = most.max(face.memory());
        std::thread::sleep(Duration::from_millis(300));
    }
    let grown = most.saturating_sub(before);
    println!("{crowd} slow clients, {grown} bytes, gone in {:?}", came.elapsed());
    assert!(grown < 64 * MIB + 16_384 * crowd as u64, "{grown} bytes more");
}
