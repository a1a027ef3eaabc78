//! What each client of a route may have at a time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body::Frame;
use http_body_util::StreamBody;
use micro_discover::Service as Record;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tonic::body::Body;

use crate::endless::{Call, connect, say, talk};
use crate::face::{Face, connect_from};
use crate::program::Place;
use crate::service::Services;
use crate::websocket::parrot;

/// A gateway at which each client may have two requests to whatever is below `path`.
fn face(place: &Place, path: &str, arguments: &[&str]) -> Face {
    let file = place.path("gateway.toml");
    std::fs::write(&file, format!("[[api.route]]\npath = '{path}'\nmost_per_client = 2\n")).unwrap();
    Face::start(place, &[&["--config", file.to_str().unwrap()], arguments].concat())
}

/// Tries until there is a place again.
fn again<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no place comes free");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_client_whose_answers_have_no_end_has_no_more_than_its_part() {
    let place = Place::new();
    let services = Services::new(&place);
    services.serve(Record::new("ticks"), |_| async {
        let ticks = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some((Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(b"tick\n"))), ()))
        });
        Response::new(Body::new(StreamBody::new(Box::pin(ticks))))
    });
    services.mirror("other");
    let face = face(&place, "/ticks", &[]);
    // The first line of an answer that goes on.
    let ask = |address: [u8; 4], path: &str| -> (TcpStream, String) {
        let mut stream = connect_from(address, face.address);
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            line.extend(byte);
        }
        (stream, String::from_utf8(line).unwrap())
    };
    let (one, other) = ([127, 0, 0, 2], [127, 0, 0, 3]);
    let mut held: Vec<_> = (0..2).map(|_| ask(one, "/ticks/x")).collect();
    assert!(held.iter().all(|(_, line)| line == "HTTP/1.1 200 OK\r\n"), "{held:?}");
    assert_eq!(ask(one, "/ticks/x").1, "HTTP/1.1 429 Too Many Requests\r\n");
    assert_eq!(ask(one, "/other/x").1, "HTTP/1.1 200 OK\r\n", "no route says anything of it");
    let (_goes_on, line) = ask(other, "/ticks/x");
    assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    held.pop();
    again(|| Some(ask(one, "/ticks/x")).filter(|(_, line)| line == "HTTP/1.1 200 OK\r\n"));
}

#[test]
fn calls_that_go_on_count_and_one_too_many_is_told_so_in_grpcs_words() {
    let place = Place::new();
    let services = Services::new(&place);
    talk(&services);
    let face = face(&place, "/", &["--trust-forwarded"]);
    services.runtime.block_on(async {
        let connection = connect(&face).await;
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut call = Call::begin(&connection, "192.0.2.1").await;
            call.heard.recv().await.unwrap();
            held.push(call);
        }
        let refused = Call::begin(&connection, "192.0.2.1").await;
        assert_eq!(refused.end.await.unwrap().as_deref(), Some("8"), "RESOURCE_EXHAUSTED");
        say(&connection, "192.0.2.2").await;
        let mut neighbour = Call::begin(&connection, "192.0.2.2").await;
        neighbour.heard.recv().await.unwrap();
    });
}

#[test]
fn a_websocket_counts_until_it_is_closed() {
    let place = Place::new();
    let services = Services::new(&place);
    parrot(&services, "chat");
    let face = face(&place, "/chat", &[]);
    let open = || match services.runtime.block_on(connect_async(format!("ws://{}/chat/room", face.address))) {
        Ok((socket, _)) => Some(socket),
        Err(Error::Http(response)) => {
            assert_eq!(response.status(), 429);
            None
        }
        Err(error) => panic!("{error}"),
    };
    let (_first, second) = (open().unwrap(), open().unwrap());
    assert!(open().is_none());
    drop(second);
    again(open);
}
