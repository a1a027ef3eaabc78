//! What every layer of this crate keeps to, and what each of them does.
#![allow(clippy::unwrap_used, clippy::panic)]

mod strict;

use std::{
    convert::Infallible,
    pin::pin,
    sync::atomic::Ordering::SeqCst,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use micro_balance::{grpc_timeout, limit::LimitLayer};
use micro_tower::{
    Sent,
    deadline::{AttemptDeadlineLayer, Deadline, DeadlineLayer, Expired, ServerDeadlineLayer},
    metadata::{Metadata, MetadataLayer, ServerMetadataLayer},
    status::{AnswerErrorsLayer, GrpcErrorsLayer},
};
use strict::{Strict, Wakes};
use tokio::time::advance;
use tonic::{Code, Status, body::Body};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt as _, service_fn};

fn request() -> Request<Body> {
    Request::post("/").body(Body::empty()).unwrap()
}

fn grpc(timeout: &'static str) -> Request<Body> {
    let request = Request::post("/greeter.Greeter/Hello").header("content-type", "application/grpc");
    request.header("grpc-timeout", timeout).body(Body::empty()).unwrap()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Asks of one layer what all of them promise.
async fn keeps_the_contract<L, B>(layer: L)
where
    L: Layer<Strict>,
    L::Service: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    <L::Service as Service<Request<Body>>>::Future: Send,
    <L::Service as Service<Request<Body>>>::Error: std::fmt::Debug,
    B: http_body::Body + Send,
    B::Error: std::fmt::Debug,
{
    let strict = Strict::default();
    let seen = strict.seen.clone();
    let service = layer.layer(strict);

    // Each clone is made ready by itself, and called once it is.
    for calls in 1..=3 {
        let mut clone = service.clone();
        let mut response = pin!(clone.ready().await.unwrap().call(request()));
        assert_eq!(seen.calls.load(SeqCst), calls, "it is sent by the call");
        // A call that waits is woken by its answer, once, and not before.
        let (wakes, waker) = Wakes::new();
        let mut cx = Context::from_waker(&waker);
        for _ in 0..3 {
            assert!(response.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(wakes.count(), 0);
        seen.answer(Response::new(Body::empty()));
        assert_eq!(wakes.count(), 1);
        let Poll::Ready(Ok(response)) = response.as_mut().poll(&mut cx) else { panic!("it was answered") };
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(seen.dropped.load(SeqCst), 0);

    // A call that is dropped, polled or not, is dropped to the bottom.
    let mut clone = service.clone();
    drop(clone.ready().await.unwrap().call(request()));
    assert!(clone.ready().await.unwrap().call(request()).now_or_never().is_none());
    assert_eq!(seen.dropped.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn every_layer_keeps_the_contract() {
    keeps_the_contract(DeadlineLayer::new()).await;
    keeps_the_contract(DeadlineLayer::new().timeout(millis(1000))).await;
    keeps_the_contract(AttemptDeadlineLayer).await;
    Deadline::after(millis(1000)).scope(keeps_the_contract(AttemptDeadlineLayer)).await;
    keeps_the_contract(ServerDeadlineLayer::new()).await;
    keeps_the_contract(ServerDeadlineLayer::new().timeout(millis(1000))).await;
    keeps_the_contract(MetadataLayer).await;
    keeps_the_contract(ServerMetadataLayer::new()).await;
    keeps_the_contract(GrpcErrorsLayer).await;
    keeps_the_contract(AnswerErrorsLayer).await;
    let all = ServiceBuilder::new()
        .layer(MetadataLayer)
        .layer(GrpcErrorsLayer)
        .layer(DeadlineLayer::new().timeout(millis(1000)))
        .layer(AttemptDeadlineLayer);
    keeps_the_contract(all.into_inner()).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_after_the_deadline_is_too_late_and_the_call_is_dropped() {
    let strict = Strict::<BoxError>::default();
    let seen = strict.seen.clone();
    let mut client = DeadlineLayer::new().timeout(millis(50)).layer(strict);
    let mut response = Box::pin(client.ready().await.unwrap().call(request()));
    assert!(response.as_mut().now_or_never().is_none());
    advance(millis(49)).await;
    assert!(response.as_mut().now_or_never().is_none());
    advance(millis(2)).await;
    let error = response.now_or_never().unwrap().unwrap_err();
    assert_eq!(error.downcast_ref::<Expired>().unwrap().sent(), Sent::MaybeSent);
    assert_eq!(Status::from_error(error).code(), Code::DeadlineExceeded);
    assert_eq!(seen.dropped.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_at_the_deadline_is_an_answer() {
    let strict = Strict::<BoxError>::default();
    let seen = strict.seen.clone();
    let mut client = DeadlineLayer::new().timeout(millis(50)).layer(strict);
    let mut response = Box::pin(client.ready().await.unwrap().call(request()));
    assert!(response.as_mut().now_or_never().is_none());
    advance(millis(60)).await;
    seen.answer(Response::new(Body::empty()));
    assert!(response.now_or_never().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_sends_nothing() {
    for layer in 0..2 {
        let strict = Strict::<BoxError>::default();
        let seen = strict.seen.clone();
        let error = Deadline::after(Duration::ZERO)
            .scope(async {
                match layer {
                    0 => DeadlineLayer::new().layer(strict).oneshot(request()).await.err().unwrap(),
                    _ => AttemptDeadlineLayer.layer(strict).oneshot(request()).await.err().unwrap(),
                }
            })
            .await;
        assert_eq!(error.downcast_ref::<Expired>().unwrap().sent(), Sent::NotSent);
        assert_eq!(seen.calls.load(SeqCst), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_earliest_deadline_holds() {
    /// What is left of the deadline that a client with this default gives to this request.
    async fn left(default: Option<u64>, mut request: Request<Body>, own: Option<u64>) -> Option<Duration> {
        if let Some(own) = own {
            request.extensions_mut().insert(Deadline::after(millis(own)));
        }
        let seen = service_fn(|_: Request<Body>| async {
            Ok::<_, BoxError>(Response::new(Deadline::current().map(Deadline::left)))
        });
        let layer = default.map_or(DeadlineLayer::new(), |ms| DeadlineLayer::new().timeout(millis(ms)));
        // The body is wrapped, so the answer has to leave by the side.
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let sender = std::sync::Mutex::new(Some(sender));
        let tell = service_fn(move |request| {
            let sender = sender.lock().unwrap().take();
            let response = seen.oneshot(request);
            async move {
                let _ = sender.unwrap().send(response.await?.into_body());
                Ok::<_, BoxError>(Response::new(Body::empty()))
            }
        });
        layer.layer(tell).oneshot(request).await.unwrap();
        receiver.await.unwrap()
    }
    let plain = request;
    assert_eq!(left(None, plain(), None).await, None);
    assert_eq!(left(Some(90), plain(), None).await, Some(millis(90)));
    assert_eq!(left(Some(90), plain(), Some(70)).await, Some(millis(70)));
    assert_eq!(left(Some(60), plain(), Some(70)).await, Some(millis(60)));
    assert_eq!(left(Some(90), grpc("80m"), None).await, Some(millis(80)));
    let inherited = Deadline::after(millis(50));
    assert_eq!(inherited.scope(left(Some(90), grpc("80m"), Some(70))).await, Some(millis(50)));
    assert_eq!(inherited.scope(left(Some(40), grpc("80m"), Some(70))).await, Some(millis(40)));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_says_what_is_left() {
    let strict = Strict::<BoxError>::default();
    let seen = strict.seen.clone();
    let mut attempts = AttemptDeadlineLayer.layer(strict);
    Deadline::after(millis(100))
        .scope(async {
            for _ in 0..2 {
                tokio::time::sleep(millis(30)).await;
                // What an outer layer said is replaced.
                let mut response = Box::pin(attempts.ready().await.unwrap().call(grpc("90m")));
                assert!(response.as_mut().now_or_never().is_none());
            }
        })
        .await;
    let said = |call| {
        grpc_timeout::decode(&HeaderValue::try_from(seen.header(call, "grpc-timeout").unwrap()).unwrap())
            .unwrap()
    };
    assert!(said(0) > millis(68) && said(0) <= millis(70), "{:?}", said(0));
    assert!(said(1) > millis(38) && said(1) <= millis(40), "{:?}", said(1));
}

fn endless(first: &'static str) -> Body {
    let first = stream::iter([Ok::<_, BoxError>(Frame::data(Bytes::from(first)))]);
    Body::new(StreamBody::new(Box::pin(futures_util::StreamExt::chain(first, stream::pending()))))
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_at_the_deadline_on_both_sides() {
    let streams = || service_fn(|_| async { Ok::<_, BoxError>(Response::new(endless("one"))) });
    let client = DeadlineLayer::new().timeout(millis(50)).layer(streams());
    let mut body = client.oneshot(request()).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    assert!(body.frame().await.unwrap().unwrap_err().is::<Expired>());
    assert!(body.frame().await.is_none());

    let server = ServerDeadlineLayer::new().layer(streams());
    let mut body = server.oneshot(grpc("50m")).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "4");
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_server_stops_handling_when_the_caller_has_given_up() {
    let strict = Strict::<Infallible>::default();
    let seen = strict.seen.clone();
    let server = ServerDeadlineLayer::new().timeout(millis(500)).layer(strict);
    let started = tokio::time::Instant::now();
    let late = server.clone().oneshot(grpc("50m")).await.unwrap();
    assert_eq!(started.elapsed(), millis(50));
    assert_eq!(
        (late.status(), &late.headers()["grpc-status"]),
        (StatusCode::OK, &HeaderValue::from_static("4"))
    );
    assert_eq!(server.clone().oneshot(request()).await.unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(seen.dropped.load(SeqCst), 2);
    // A call that comes too late is not begun; one that cannot be read is refused.
    assert_eq!(server.clone().oneshot(grpc("0S")).await.unwrap().headers()["grpc-status"], "4");
    assert_eq!(server.clone().oneshot(grpc("soon")).await.unwrap().headers()["grpc-status"], "13");
    assert_eq!(seen.calls.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handler_finds_its_deadline_and_hands_it_to_other_tasks() {
    let handler = service_fn(|request: Request<Body>| async move {
        let deadline = Deadline::of(&request).unwrap();
        assert_eq!(Deadline::current(), Some(deadline));
        let elsewhere = tokio::spawn(async { Deadline::current() }).await.unwrap();
        let handed = tokio::spawn(deadline.scope(async { Deadline::current() })).await.unwrap();
        assert_eq!((elsewhere, handed), (None, Some(deadline)));
        // A body is produced under the deadline too.
        let body = stream::poll_fn(|_| {
            let left = Deadline::current().unwrap().left();
            Poll::Ready(Some(Ok::<_, BoxError>(Frame::data(Bytes::from(format!("{left:?}"))))))
        });
        Ok::<_, Infallible>(Response::new(Body::new(StreamBody::new(body))))
    });
    let response = ServerDeadlineLayer::new().layer(handler).oneshot(grpc("50m")).await.unwrap();
    let frame = response.into_body().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "50ms");
}

/// R26 of go-micro: it hands on how long a body was, and who asked, to the next service.
#[tokio::test]
async fn only_what_is_listed_travels() {
    let [tenant, secret, id] = ["x-tenant", "authorization", "x-request-id"].map(HeaderName::from_static);
    let handler = service_fn(|incoming: Request<Body>| async move {
        assert_eq!(incoming.headers().len(), 3, "the handler sees all of them");
        // Shows what arrives at the next server.
        let next = service_fn(|outgoing: Request<Body>| async move {
            let mut response = Response::new(Body::empty());
            *response.headers_mut() = outgoing.headers().clone();
            Ok::<_, Infallible>(response)
        });
        MetadataLayer.layer(next).oneshot(request()).await
    });
    let server = ServerMetadataLayer::carrying([tenant.clone()]).unwrap().layer(handler);
    let call = |given: &'static str| {
        let mut incoming = request();
        incoming.headers_mut().insert(&tenant, HeaderValue::from_static("a"));
        incoming.headers_mut().insert(&secret, HeaderValue::from_static("Bearer x"));
        incoming.headers_mut().insert(&id, HeaderValue::from_static(given));
        server.clone().oneshot(incoming)
    };
    let response = call("abc").await.unwrap();
    assert_eq!(
        (&response.headers()[&tenant], &response.headers()[&id]),
        (&"a".parse().unwrap(), &"abc".parse().unwrap())
    );
    assert_eq!(response.headers().len(), 2);
    assert!(Metadata::current().is_none());
    // An id that says nothing is replaced.
    assert_eq!(call("").await.unwrap().headers()[&id].len(), 32);

    for name in ["te", "connection", "content-type", "grpc-timeout"] {
        let refused = ServerMetadataLayer::carrying([HeaderName::from_static(name)]).unwrap_err();
        assert!(refused.to_string().contains(name));
    }
}

#[tokio::test]
async fn what_a_limit_turns_away_is_answered_in_the_callers_words() {
    let service = service_fn(|_: Request<Body>| async {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let service =
        ServiceBuilder::new().layer(AnswerErrorsLayer).layer(LimitLayer::new(1).http()).service(service);
    for (request, http, code) in [(grpc("1S"), 200, Some("14")), (request(), 503, None)] {
        let first = service.clone().oneshot(Request::new(Body::empty()));
        let (first, second) = tokio::join!(first, service.clone().oneshot(request));
        assert_eq!(first.unwrap().status(), 200);
        let second = second.unwrap();
        assert_eq!(second.status(), http);
        let status = second.headers().get("grpc-status");
        assert_eq!(status.map(|status| status.to_str().unwrap()), code);
        assert!(second.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
}

#[tokio::test]
async fn a_server_that_is_not_ready_answers_so() {
    #[derive(Clone)]
    struct Never;
    impl Service<Request<Body>> for Never {
        type Response = Response<Body>;
        type Error = BoxError;
        type Future = std::future::Pending<Result<Response<Body>, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Err(Status::deadline_exceeded("too late").into()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            panic!("it was not ready")
        }
    }
    let answer = AnswerErrorsLayer.layer(Never).oneshot(request()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
}
