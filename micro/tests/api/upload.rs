//! Uploads that take their time, and how long a service has after them.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use micro_discover::Service as Record;
use tonic::body::Body;
use tower::ServiceExt as _;

use crate::dribble::count;
use crate::endless::{connect, request, talk};
use crate::face::{Answer, Face};
use crate::program::Place;
use crate::service::Services;

/// Posts so many `pieces` to `path`, one each 200 ms: the answer, and how long that took.
fn in_pieces(
    face: &Face,
    path: &str,
    length: Option<usize>,
    pieces: usize,
    piece: &[u8],
) -> (Answer, Duration) {
    let began = Instant::now();
    let mut stream = face.connect();
    let framing = match length {
        Some(length) => format!("Content-Length: {length}"),
        None => "Transfer-Encoding: chunked".to_owned(),
    };
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{framing}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..pieces {
        std::thread::sleep(Duration::from_millis(200));
        let sent = match length {
            Some(_) => stream.write_all(piece),
            None => {
                let size = format!("{:x}\r\n", piece.len());
                stream.write_all(&[size.as_bytes(), piece, b"\r\n"].concat())
            }
        };
        if sent.is_err() {
            break; // it has been answered
        }
    }
    if length.is_none() {
        let _ = stream.write_all(b"0\r\n\r\n");
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    (Answer::of(&answer), began.elapsed())
}

#[test]
fn an_upload_may_last_longer_than_the_timeout_as_long_as_it_goes_on() {
    let place = Place::new();
    let services = Services::new(&place);
    count(&services);
    silent(&services);
    let face = Face::start(&place, &["--timeout", "1s"]);
    let piece = [b'x'; 20_000];
    for length in [Some(300_000), None] {
        let (answer, took) = in_pieces(&face, "/count/x", length, 15, &piece);
        assert_eq!((answer.status, answer.text().as_str()), (200, "300000"));
        assert!(took > Duration::from_secs(3), "{took:?}");
    }
    // Its service has all of the time after that, and no more.
    let (answer, took) = in_pieces(&face, "/silent/x", Some(200_000), 10, &piece);
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!((Duration::from_secs(3)..Duration::from_secs(5)).contains(&took), "{took:?}");
    // What dribbles has a timeout for all of it.
    let (answer, took) = in_pieces(&face, "/count/x", None, 30, b"x");
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// A service that reads everything and never answers.
fn silent(services: &Services) {
    services.serve(Record::new("silent"), |request| async move {
        let _read = request.into_body().collect().await;
        std::future::pending().await
    });
}

#[test]
fn an_attempt_at_an_upload_has_its_time_once_the_last_of_it_is_there() {
    let place = Place::new();
    let services = Services::new(&place);
    count(&services);
    silent(&services);
    let file = place.path("gateway.toml");
    let toml = "[[api.route]]\npath = '/'\ntimeout = '2s'\nattempt_timeout = '500ms'\n";
    std::fs::write(&file, toml).unwrap();
    let face = Face::start(&place, &["--config", file.to_str().unwrap()]);
    let piece = [b'x'; 20_000];
    for length in [Some(200_000), None] {
        let (answer, took) = in_pieces(&face, "/count/x", length, 10, &piece);
        assert_eq!((answer.status, answer.text().as_str()), (200, "200000"));
        assert!(took > Duration::from_secs(2), "{took:?}");
    }
    // Nothing of it says whose fault it is but that the client is waited for: he has the route's time.
    let (answer, took) = in_pieces(&face, "/count/x", Some(300_000), 2, &piece);
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert!(took > Duration::from_secs(2), "{took:?}");
    let (answer, took) = in_pieces(&face, "/silent/x", Some(200_000), 10, &piece);
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(answer.text().contains("500ms"), "{}", answer.text());
    assert!((Duration::from_millis(2_500)..Duration::from_secs(4)).contains(&took), "{took:?}");
}

#[test]
fn an_attempt_at_a_call_has_its_time_after_the_last_message_of_its_client() {
    let place = Place::new();
    let services = Services::new(&place);
    talk(&services);
    let file = place.path("gateway.toml");
    std::fs::write(&file, "[[api.route]]\npath = '/'\nattempt_timeout = '500ms'\n").unwrap();
    let face = Face::start(&place, &["--config", file.to_str().unwrap()]);
    services.runtime.block_on(async {
        // `Say` answers once it has all of them.
        let messages = stream::unfold(0, |said| async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let message = Bytes::from([&[0, 0, 0, 3, 232][..], &[7; 1_000]].concat());
            (said < 8).then(|| (Ok::<_, Infallible>(Frame::data(message)), said + 1))
        });
        let body = Body::new(StreamBody::new(Box::pin(messages)));
        let answer = connect(&face).await.oneshot(request("Say", "192.0.2.1", body)).await.unwrap();
        let answer = answer.into_body().collect().await.unwrap();
        assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(answer.to_bytes().len(), 8 * 1_005);
    });
}
