//! Deployments: of the gateway, and of every service behind it.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::Response;
use micro_discover::Service as Record;
use micro_tower::Server;
use rustix::process::Signal;
use tokio::sync::Notify;
use tonic::body::Body;

use crate::face::{Answer, Face};
use crate::program::Place;
use crate::service::Services;

/// Waits until nobody listens at `address`, and for a while where somebody else, or this very connection, has its port.
fn let_it_close(address: std::net::SocketAddr) {
    for _ in 0..500 {
        if std::net::TcpStream::connect(address).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_was_begun_is_finished_after_the_word_to_stop() {
    let place = Place::new();
    let services = Services::new(&place);
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let signals = (begun.clone(), go.clone());
    services.serve(Record::new("slow"), move |request| {
        let (begun, go) = signals.clone();
        async move {
            // The gateway itself asks what the service is.
            if request.method() != http::Method::GET {
                return Response::new(Body::empty());
            }
            begun.notify_one();
            go.notified().await;
            Response::new(Body::new("done".to_owned()))
        }
    });
    let mut face = Face::start(&place, &[]);
    let mut stream = face.connect();
    stream.write_all(b"GET /slow/x HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    services.runtime.block_on(begun.notified());
    // `timeout` of coreutils tells its command, and then the group of both.
    face.signal(Signal::TERM);
    face.signal(Signal::TERM);
    let_it_close(face.address);
    go.notify_one();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(Answer::of(&answer).text(), "done");
    assert_eq!(face.end().0, Some(0));
}

#[test]
fn a_second_word_stops_at_once() {
    let place = Place::new();
    let services = Services::new(&place);
    let begun = Arc::new(Notify::new());
    let signal = begun.clone();
    services.serve(Record::new("slow"), move |_| {
        signal.notify_one();
        std::future::pending::<Response<Body>>()
    });
    let mut face = Face::start(&place, &[]);
    let mut stream = face.connect();
    stream.write_all(b"GET /slow/x HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    services.runtime.block_on(begun.notified());
    face.signal(Signal::TERM);
    let_it_close(face.address);
    // What comes at once after the first word is its echo.
    while !face.has_ended() {
        face.signal(Signal::TERM);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(face.end().0, Some(143));
}

#[test]
fn no_request_fails_while_every_backend_is_replaced() {
    let place = Place::new();
    let services = Services::new(&place);
    let start = |number: usize| {
        let server = Server::new()
            .announce(services.registry.clone(), Record::new("foo"))
            .propagation(Duration::from_millis(500));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let service = tower::service_fn(move |_| async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok::<_, std::convert::Infallible>(Response::new(Body::new(number.to_string())))
        });
        let bound = services.runtime.block_on(server.bind()).unwrap();
        let serving = bound.serve_until(service, async move {
            let _ = stopped.await;
        });
        (services.runtime.spawn(serving), stop)
    };
    let mut generation: Vec<_> = (0..3).map(start).collect();
    let face = Face::start(&place, &[]);
    let started = std::time::Instant::now();
    while face.get("/foo/x").status != 200 {
        assert!(started.elapsed() < Duration::from_secs(30), "the service does not come up");
    }
    let (enough, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failed = std::thread::scope(|scope| {
        let load = || {
            let mut failed = Vec::new();
            while !enough.load(Relaxed) {
                let answer = face.get("/foo/x");
                if answer.status != 200 {
                    failed.push(answer);
                }
                answered.fetch_add(1, Relaxed);
            }
            failed
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        for round in 1..3 {
            for slot in &mut generation {
                let before = answered.load(Relaxed);
                let (old, stop) = std::mem::replace(slot, start(round));
                stop.send(()).unwrap();
                services.runtime.block_on(old).unwrap().unwrap();
                // Requests have met each step of it.
                while answered.load(Relaxed) < before + 50 {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        enough.store(true, Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(failed.is_empty(), "{} of {answered:?}: {:?}", failed.len(), failed.first());
}
