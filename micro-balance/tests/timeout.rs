//! Timeouts, against a service that answers by a script.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use std::{convert::Infallible, pin::Pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use micro_balance::timeout::{Elapsed, IdleBody, IdleTimeoutLayer, Phase, Progress, TimeoutLayer};
use scripted::*;
use tokio::time::{Instant, advance, sleep};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tower::ServiceExt;
use tower_layer::Layer;

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn an_answer_after_the_limit_is_too_late_and_the_call_is_dropped() {
    let inner = Scripted::new([Answer::Wait(100 * MS), Answer::Wait(100 * MS)]);
    let mut late = task::spawn(TimeoutLayer::per_attempt(99 * MS).layer(inner.clone()).oneshot(get("/")));
    assert_pending!(late.poll());
    advance(99 * MS).await;
    assert!(late.is_woken());
    let error = assert_ready_err!(late.poll());
    assert_eq!(error.to_string(), "the attempt took longer than 99ms");
    let elapsed = error.downcast_ref::<Elapsed>().unwrap();
    assert_eq!((elapsed.phase(), elapsed.limit(), inner.open()), (Phase::Attempt, 99 * MS, 0));

    // Ready at the very moment is ready.
    let began = Instant::now();
    TimeoutLayer::per_call(100 * MS).layer(inner).oneshot(get("/")).await.unwrap();
    assert_eq!(began.elapsed(), 100 * MS);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_there_needs_no_timer_and_a_limit_may_be_endless() {
    let inner = Scripted::new([status(200, &[]), status(200, &[]), Answer::Wait(MS)]);
    for limit in [Duration::ZERO, MS] {
        let mut answer = task::spawn(TimeoutLayer::per_call(limit).layer(inner.clone()).oneshot(get("/")));
        assert_ready_ok!(answer.poll());
        assert!(!answer.is_woken());
    }
    TimeoutLayer::per_call(Duration::MAX).layer(inner).oneshot(get("/")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_attempt_has_its_limit_after_its_request_came_on_last() {
    let began = Instant::now();
    let after = async |came: Option<Duration>| {
        let mut request = get("/");
        request
            .extensions_mut()
            .insert(Progress::new(move || Some(began + came?).filter(|at| *at <= Instant::now())));
        let inner = Scripted::new([Answer::Wait(400 * MS)]);
        let error =
            TimeoutLayer::per_attempt(100 * MS).shared().layer(inner).oneshot(request).await.unwrap_err();
        assert!(error.is::<Elapsed>(), "{error}");
        Instant::now()
    };
    assert_eq!(after(None).await, began + 100 * MS);
    // This attempt began after that.
    assert_eq!(after(Some(50 * MS)).await, began + 200 * MS);
    assert_eq!(after(Some(250 * MS)).await, began + 350 * MS);
    // Whoever goes on has no end, but where there is an answer.
    let mut request = get("/");
    request.extensions_mut().insert(Progress::new(|| Some(Instant::now())));
    let inner = Scripted::new([Answer::Wait(400 * MS)]);
    TimeoutLayer::per_attempt(100 * MS).shared().layer(inner).oneshot(request).await.unwrap();
    assert_eq!(Instant::now(), began + 750 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_response_may_last_but_not_pause() {
    let Answer::Respond(mut response) = grpc_silent() else { panic!() };
    response.body_mut().frames.push_back(Ok(Frame::data(Bytes::from_static(b"one"))));
    let inner = Scripted::new([Answer::Respond(response)]);
    let answer = IdleTimeoutLayer::new(50 * MS).layer(inner).oneshot(get("/")).await.unwrap();
    let mut body = answer.into_body();
    // Nobody waits: that is no pause of the service's.
    advance(500 * MS).await;
    let mut reader = task::spawn(());
    let mut poll = |body: &mut IdleBody<Frames>| reader.enter(|cx, _| Pin::new(body).poll_frame(cx));
    assert_eq!(assert_ready!(poll(&mut body)).unwrap().unwrap().into_data().unwrap(), "one");
    assert_pending!(poll(&mut body));
    advance(49 * MS).await;
    assert_pending!(poll(&mut body));
    advance(MS).await;
    let error = assert_ready!(poll(&mut body)).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the pause in the response took longer than 50ms");
    assert!(assert_ready!(poll(&mut body)).is_none() && body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn a_response_may_go_on_but_not_for_ever() {
    let endless = |every: Duration| {
        tower::service_fn(move |_: Request<Frames>| {
            let frames = futures_util::stream::unfold((), move |()| async move {
                sleep(every).await;
                Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))), ()))
            });
            std::future::ready(Ok::<_, Infallible>(Response::new(StreamBody::new(Box::pin(frames)))))
        })
    };
    // Frames now and then, and frames without a pause: both end at their time.
    for every in [30 * MS, Duration::ZERO] {
        let layer = IdleTimeoutLayer::new(50 * MS).lifetime(200 * MS);
        let mut body = layer.layer(endless(every)).oneshot(get("/")).await.unwrap().into_body();
        let began = Instant::now();
        let error = loop {
            match body.frame().await.unwrap() {
                Ok(_) if every.is_zero() => advance(MS).await,
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(
            (error.to_string().as_str(), began.elapsed()),
            ("the response took longer than 200ms", 200 * MS)
        );
        assert!(body.frame().await.is_none());
    }
    // A pause that is too long comes first.
    let layer = IdleTimeoutLayer::new(50 * MS).lifetime(200 * MS);
    let body = layer.layer(endless(60 * MS)).oneshot(get("/")).await.unwrap().into_body();
    let error = body.collect().await.unwrap_err();
    assert_eq!(error.downcast_ref::<Elapsed>().unwrap().phase(), Phase::Pause);
}
