//! Answers that are made smaller.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::Response;
use http_body::Frame;
use http_body_util::StreamBody;
use micro_discover::Service as Record;
use tonic::body::Body;

use crate::face::Face;
use crate::program::Place;
use crate::service::Services;

/// Serves a long text, and lines that come when they are let.
fn texts(services: &Services) -> std::sync::mpsc::Sender<&'static str> {
    services.serve(Record::new("long"), |request| async move {
        let kind = request.uri().path().rsplit_once('/').map_or("", |(_, kind)| kind).replace('.', "/");
        Response::builder().header("content-type", kind).body(Body::new("long ".repeat(10_000))).unwrap()
    });
    let (say, said) = std::sync::mpsc::channel::<&'static str>();
    let said = std::sync::Arc::new(std::sync::Mutex::new(Some(said)));
    services.serve(Record::new("lines"), move |request| {
        // The gateway asks what it is, too.
        let is_asked = request.uri().path().starts_with("/lines");
        let said = if is_asked { said.lock().unwrap().take() } else { None };
        async move {
            let (frames, body) = tokio::sync::mpsc::channel(1);
            std::thread::spawn(move || {
                for line in said.into_iter().flatten() {
                    frames
                        .blocking_send(Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(line))))
                        .unwrap();
                }
            });
            let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(body));
            Response::builder().header("content-type", "application/x-ndjson").body(Body::new(body)).unwrap()
        }
    });
    say
}

#[test]
fn text_is_compressed_for_those_who_take_it() {
    let place = Place::new();
    let services = Services::new(&place);
    let _lines = texts(&services);
    let face = Face::start(&place, &[]);
    let plain = face.get("/long/text.plain");
    assert_eq!((plain.header("content-encoding"), plain.body.len()), (None, 50_000));
    let takes = "accept-encoding: deflate, gzip;q=0.5\r\n";
    let smaller = face.ask("GET", "/long/text.plain", takes, b"");
    assert_eq!(smaller.header("content-encoding"), Some("gzip"), "{}", smaller.head);
    assert!(smaller.header("vary").unwrap().contains("accept-encoding") && smaller.body.len() < 1000);
    let mut text = String::new();
    GzDecoder::new(&smaller.body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, plain.text());
    let image = face.ask("GET", "/long/image.png", takes, b"");
    assert_eq!((image.header("content-encoding"), image.body.len()), (None, 50_000));

    let asis = Face::start(&place, &["--no-compression"]);
    assert_eq!(asis.ask("GET", "/long/text.plain", takes, b"").header("content-encoding"), None);
}

#[test]
fn what_comes_in_pieces_is_compressed_in_pieces() {
    let place = Place::new();
    let services = Services::new(&place);
    let say = texts(&services);
    let face = Face::start(&place, &[]);
    let mut stream = face.connect();
    let ask = b"GET /lines/x HTTP/1.0\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n";
    stream.write_all(ask).unwrap();
    say.send("{\"one\":1}\n").unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(String::from_utf8_lossy(&head).to_lowercase().contains("content-encoding: gzip"));
    let mut lines = GzDecoder::new(stream);
    let mut line = [0; 10];
    lines.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"{\"one\":1}\n");
    say.send("{\"two\":2}\n").unwrap();
    lines.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"{\"two\":2}\n");
    drop(say);
    assert_eq!(lines.read(&mut line).unwrap(), 0);
}
