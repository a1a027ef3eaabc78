//! Short answers over plain HTTP are kept until they are whole, where the call may be repeated.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod scripted;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use micro_balance::retry::{Budget, PeekBody, RetryLayer};
use scripted::{Answer, Frames, Scripted, collect, frames, get};
use tokio::time::{Instant, sleep};
use tower::{BoxError, Layer, ServiceExt as _};

/// An answer that says it is `length` long, of which `pieces` are there; it breaks `after` so long, or never comes.
fn answer(length: u64, pieces: &[&'static str], after: Option<Duration>) -> Answer {
    let breaks = after.map(|after| Box::pin(sleep(after)));
    let body = Frames { open: true, breaks, ..frames(pieces) };
    Answer::Respond(sized(length, body))
}

fn sized(length: u64, body: Frames) -> Response<Frames> {
    Response::builder().header("content-length", length).body(body).unwrap()
}

fn whole(text: &'static str) -> Answer {
    Answer::Respond(sized(text.len() as u64, frames(&[text])))
}

async fn send(
    layer: &RetryLayer,
    inner: &Scripted,
    request: Request<Frames>,
) -> Result<Response<PeekBody<Frames>>, BoxError> {
    layer.layer(inner.clone()).oneshot(request).await
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_dies_within_a_short_answer_is_no_failure() {
    let inner = Scripted::new([answer(5, &["he"], Some(Duration::from_secs(2))), whole("hello")]);
    let answer = send(&RetryLayer::new(), &inner, get("/")).await.unwrap();
    assert_eq!((collect(answer.into_body()).await.0.as_str(), inner.attempts().len()), ("hello", 2));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_drips_is_asked_for_again_after_the_time_of_an_attempt() {
    let inner = Scripted::new([answer(5, &["h"], None), whole("hello")]);
    let (layer, began) = (RetryLayer::new().whole_timeout(Duration::from_secs(1)), Instant::now());
    let answer = send(&layer, &inner, get("/")).await.unwrap();
    assert_eq!(collect(answer.into_body()).await.0, "hello");
    assert!((1000..1100).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(inner.open(), 0, "the other is given up");
}

#[tokio::test(start_paused = true)]
async fn where_attempts_have_no_limit_it_is_handed_on_as_far_as_it_is_there() {
    let inner = Scripted::new([answer(5, &["h", "e"], None)]);
    let began = Instant::now();
    let mut body = send(&RetryLayer::new(), &inner, get("/")).await.unwrap().into_body();
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert_eq!((body.size_hint().lower(), body.is_end_stream()), (2, false));
    for piece in ["h", "e"] {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
    }
    assert!(tokio::time::timeout(Duration::from_secs(9), body.frame()).await.is_err(), "the rest is to come");
}

#[tokio::test(start_paused = true)]
async fn whoever_can_not_afford_to_ask_again_gets_what_there_is_and_the_error() {
    let layer = RetryLayer::new().budget(Budget::new(0.0, 0, Duration::from_secs(10)).unwrap());
    let inner = Scripted::new([answer(5, &["h", "e"], Some(Duration::from_secs(1)))]);
    let began = Instant::now();
    let mut body = send(&layer, &inner, get("/")).await.unwrap().into_body();
    assert_eq!(began.elapsed(), Duration::from_secs(1), "it was kept");
    for piece in ["h", "e"] {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
    }
    assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "reset by peer");
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn several_pieces_and_trailers_stay_in_their_order() {
    let mut body = frames(&["he", "llo"]);
    let trailers = scripted::headers(&[("sum", "1")]);
    body.frames.push_back(Ok(Frame::trailers(trailers)));
    let inner = Scripted::new([Answer::Respond(sized(5, body))]);
    let body = send(&RetryLayer::new(), &inner, get("/")).await.unwrap().into_body();
    assert_eq!(body.size_hint().exact(), Some(5));
    let (text, trailers) = collect(body).await;
    assert_eq!((text.as_str(), trailers.unwrap()["sum"].as_bytes()), ("hello", "1".as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn long_answers_those_of_no_length_and_those_to_calls_that_must_not_be_repeated_go_on_at_once() {
    let silent = || Frames { open: true, ..frames(&["he"]) };
    let post = || Request::post("http://greeter/").body(Frames::default()).unwrap();
    let cases = [
        (RetryLayer::new(), sized((64 << 10) + 1, silent()), get("/")),
        (RetryLayer::new().whole(0), sized(5, silent()), get("/")),
        (RetryLayer::new().attempts(1), sized(5, silent()), get("/")),
        (RetryLayer::new(), Response::new(silent()), get("/")),
        (RetryLayer::new(), sized(5, silent()), post()),
    ];
    for (layer, answer, request) in cases {
        let (inner, began) = (Scripted::new([Answer::Respond(answer)]), Instant::now());
        let mut body = send(&layer, &inner, request).await.unwrap().into_body();
        assert_eq!(began.elapsed(), Duration::ZERO);
        let first: Frame<Bytes> = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "he");
    }
}
