//! Who is made ready and never called holds nothing, and who waits is woken by what it waits for and not by itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{task::Poll, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use micro_balance::{
    Balance, Ejection, Http, NotReady, State as Endpoint,
    breaker::{BreakerLayer, State},
    cause,
    failfast::FailfastLayer,
    hedge::HedgeLayer,
    limit::LimitLayer,
    policy::RoundRobin,
    retry::{Backoff, RetryLayer},
    throttle::ThrottleLayer,
    timeout::{IdleTimeoutLayer, TimeoutLayer},
};
use support::{FAST, Fake, Mood, fakes, pages, settle};
use tokio::time::sleep;
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);

/// Clones that are made ready, some of which are dropped, some kept.
fn readied<Req, S: Service<Req, Error: std::fmt::Debug> + Clone>(service: &S) -> Vec<S> {
    let mut clones: Vec<S> = (0..9).map(|_| service.clone()).collect();
    for clone in &mut clones {
        task::spawn(()).enter(|cx, _| assert_ready_ok!(clone.poll_ready(cx)));
    }
    clones.truncate(5);
    clones
}

#[tokio::test(start_paused = true)]
async fn who_is_ready_and_never_called_holds_nothing() {
    let (limit, failfast) = (LimitLayer::new(1), FailfastLayer::new(MS));
    let breaker = BreakerLayer::new().consecutive_failures(1).backoff(Backoff::constant(MS));
    let fake = Fake::new("a", FAST);
    let stack =
        || ServiceBuilder::new().layer(ThrottleLayer::new()).layer(&failfast).layer(&limit).layer(&breaker);
    let service = stack().service(fake.clone());
    let kept = readied::<(), _>(&service);
    assert_eq!((limit.in_flight(), failfast.waiting()), (0, 0));
    assert_eq!(service.clone().oneshot(()).await.unwrap(), "a");
    // Nor the one request that may find out whether a service is well again.
    fake.set(Mood::Fails(Duration::ZERO));
    service.clone().oneshot(()).await.unwrap_err();
    fake.set(FAST);
    sleep(2 * MS).await;
    let probes = (readied::<(), _>(&service), readied::<(), _>(&breaker.layer(fake.clone())));
    assert_eq!(breaker.state(), State::HalfOpen);
    assert_eq!(service.oneshot(()).await.unwrap(), "a");
    assert_eq!(breaker.state(), State::Closed);
    drop((kept, probes));
}

#[tokio::test(start_paused = true)]
async fn a_balancer_that_is_ready_and_never_called_takes_no_endpoints_turn() {
    let ([a, b], _hand, changes) = fakes(["a", "b"], FAST);
    let ejection = Ejection::default().consecutive_failures(1).base(10 * MS).max(10 * MS);
    let balance: Balance<_, (), _> =
        Balance::builder(changes).policy(RoundRobin::starting_at(0)).ejection(ejection).build();
    settle().await;
    let _kept = readied::<(), _>(&balance);
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(balance.clone().oneshot(()).await.unwrap());
    }
    assert_eq!(answers, ["a", "b", "a", "b"]);
    a.set(Mood::Fails(Duration::ZERO));
    balance.clone().oneshot(()).await.unwrap_err();
    a.set(FAST);
    sleep(12 * MS).await;
    let state = || balance.endpoints()[0].state;
    assert_eq!(state(), Endpoint::HalfOpen);
    let _kept = readied::<(), _>(&balance);
    assert_eq!(balance.clone().oneshot(()).await.unwrap(), "a");
    settle().await;
    assert_eq!((state(), b.calls()), (Endpoint::Ready, 2));
}

/// Polls a request once that has nothing to do but wait, and then nobody wakes it.
async fn rests<Req, S>(what: &str, service: S, request: Req)
where
    S: Service<Req>,
{
    let mut call = task::spawn(service.oneshot(request));
    for _ in 0..3 {
        assert!(matches!(call.poll(), Poll::Pending), "{what}");
        sleep(MS).await;
        assert!(!call.is_woken(), "{what} wakes itself");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_who_waits_wakes_itself() {
    let silent = || Fake::new("a", Mood::Silent);
    let closed = || Fake::new("a", Mood::Connecting);
    let limit = LimitLayer::new(1).queue(9, 1_000 * MS);
    let mut first = task::spawn(limit.layer(silent()).oneshot(()));
    assert_pending!(first.poll());
    rests("a place in the queue", limit.layer(silent()), ()).await;
    rests("a call within a limit", LimitLayer::new(1).layer(silent()), ()).await;
    rests("a service that is not ready", FailfastLayer::new(1_000 * MS).layer(closed()), ()).await;
    rests("a call within a timeout", TimeoutLayer::per_call(1_000 * MS).layer(silent()), ()).await;
    rests("a breaker", BreakerLayer::new().layer(silent()), ()).await;
    rests("a throttle", ThrottleLayer::new().layer(silent()), ()).await;
    for mood in [Mood::Silent, Mood::Connecting, Mood::Refuses] {
        let (_fakes, _hand, changes) = fakes(["a", "b"], mood);
        let balance: Balance<_, (), _> = Balance::builder(changes).policy(RoundRobin::new()).build();
        settle().await;
        rests("a balancer", balance, ()).await;
    }
    let hangs = |_: Request<_>| std::future::pending::<Result<Response<Full<&[u8]>>, BoxError>>();
    let busy = |_: Request<_>| async {
        Ok::<_, BoxError>(
            Response::builder().status(503).header("retry-after", "9").body(Full::new(&b""[..]))?,
        )
    };
    let request = || Request::new(String::new());
    rests("a call of a retry layer", RetryLayer::new().layer(service_fn(hangs)), request()).await;
    rests("a wait between attempts", RetryLayer::new().layer(service_fn(busy)), request()).await;
    rests("a hedge", HedgeLayer::after(1_000 * MS).layer(service_fn(hangs)), request()).await;
    let hangs = |_: Request<String>| std::future::pending::<Result<Response<Full<&[u8]>>, BoxError>>();
    rests("an answer", IdleTimeoutLayer::new(1_000 * MS).layer(service_fn(hangs)), request()).await;
}

#[tokio::test(start_paused = true)]
async fn who_waited_in_vain_is_told_once_and_by_name() {
    let (_fakes, _hand, changes) = fakes(["a"], Mood::Connecting);
    let balance: Balance<_, ()> = Balance::builder(changes).failfast(50 * MS).build();
    let error = balance.oneshot(()).await.unwrap_err();
    assert_eq!(cause::<NotReady>(error.as_ref()).map(NotReady::known), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_says_what_the_balancer_within_was_waiting_for() {
    let ([dead, other], _hand, changes) = fakes(["dead", "other"], Mood::Refuses);
    let balance = Balance::builder(changes).service_name("greeter").build();
    let layers = || ServiceBuilder::new().layer(TimeoutLayer::per_call(250 * MS));
    let error = layers().service(balance.clone()).oneshot(()).await.unwrap_err().to_string();
    let waited = "the call took longer than 250ms: service \"greeter\": none of 2 known endpoints became ready within 250ms";
    assert!(error.starts_with(&format!("{waited}; the last attempt: ")), "{error}");

    let (_nobody, _hand, changes) = fakes([], FAST);
    let unheard = Balance::builder(changes).service_name("greeter").build();
    let error = layers().service(unheard).oneshot(()).await.unwrap_err().to_string();
    let silent = "service \"greeter\": no endpoint is known: discovery has said nothing within 250ms";
    assert_eq!(error, format!("the call took longer than 250ms: {silent}"));

    // Who has a request is no longer waited for.
    for endpoint in [&dead, &other] {
        endpoint.set(Mood::Silent);
    }
    sleep(3000 * MS).await;
    let error = layers().service(balance).oneshot(()).await.unwrap_err();
    assert_eq!(error.to_string(), "the call took longer than 250ms");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_found_nobody_within_an_attempts_time_is_sent_once_somebody_is_there_whatever_it_does()
{
    let ([only], _hand, changes) = fakes(["only"], Mood::Connecting);
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new())
        .map_request(|attempt: Request<_>| attempt.map(drop))
        .layer(TimeoutLayer::per_attempt(100 * MS))
        .service(Balance::builder(pages(changes)).protocol(Http).build());
    let post = || Request::post("/").body(Full::<Bytes>::default()).unwrap();
    let waiting = tokio::spawn(client.clone().oneshot(post()));
    sleep(1000 * MS).await;
    only.set(FAST);
    waiting.await.unwrap().unwrap();
    assert_eq!(only.calls(), 1);

    // Once somebody has it, nobody knows what became of it.
    only.set(Mood::Silent);
    let error = client.oneshot(post()).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), only.calls()), ("the attempt took longer than 100ms", 2));
}
