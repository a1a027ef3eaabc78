//! What others wrote may panic, and counts as a failure then; no setting makes anything panic. Time is paused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    convert::Infallible,
    future::{pending, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{
    FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use micro_balance::{
    Attributes, Balance, Ejection, Reconnect, State,
    failfast::FailfastLayer,
    health::{Check, Condition, HealthCheck},
    hedge::HedgeLayer,
    policy::{Load, Policy, Prequal, RoundRobin},
};
use support::{FAST, Fake, Mood, fakes, settle};
use tokio::time::{sleep, timeout};
use tower::{BoxError, Layer, ServiceExt, discover::Change, service_fn};

/// A future that panics.
async fn broken<T>(why: &str) -> Result<T, BoxError> {
    panic!("{why}")
}

fn states<P: Policy>(balance: &Balance<Fake, (), P>) -> Vec<State> {
    balance.endpoints().iter().map(|view| view.state).collect()
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_leaves_its_endpoint_ejected_until_the_next_one() {
    let ([a, _b], _hand, changes) = fakes(["a", "b"], FAST);
    let ejection = Ejection::default().consecutive_failures(1).base(Duration::from_secs(1));
    let probes = Arc::new(AtomicUsize::new(0));
    let asked = probes.clone();
    let balance = Balance::builder(changes)
        .policy(RoundRobin::new())
        .ejection(ejection)
        .probe(move |_| match asked.fetch_add(1, Relaxed) {
            0 => panic!("no future at all"),
            1 => broken("none that ends").boxed(),
            _ => ready(Ok(())).boxed(),
        })
        .build();
    settle().await;
    a.set(Mood::Fails(Duration::ZERO));
    while balance.clone().oneshot(()).await.is_ok() {}
    a.set(FAST);
    settle().await;
    assert_eq!(states(&balance), [State::Ejected, State::Ready]);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(probes.load(Relaxed), 3);
    assert_eq!(states(&balance), [State::Ready, State::Ready]);
}

/// Says what the test has it say of an endpoint.
struct Says<F>(F);

impl<F> Check<Fake> for Says<F>
where
    F: Fn() -> BoxStream<'static, Result<Condition, BoxError>> + Send + Sync + 'static,
{
    fn ask(&self, _: Fake) -> BoxFuture<'static, Result<Condition, BoxError>> {
        Box::pin(ready(Err("it is followed".into())))
    }

    fn follow(&self, _: Fake) -> Option<BoxStream<'static, Result<Condition, BoxError>>> {
        Some((self.0)())
    }
}

#[tokio::test(start_paused = true)]
async fn a_health_check_that_panics_is_asked_again() {
    let (_fakes, _hand, changes) = fakes(["a"], FAST);
    let asked = AtomicUsize::new(0);
    let check = move |_: Fake| match asked.fetch_add(1, Relaxed) {
        0 => panic!("no future at all"),
        _ => ready(Ok(())),
    };
    let balance: Balance<_, ()> =
        Balance::builder(changes).health_check(HealthCheck::default().healthy_threshold(1), check).build();
    balance.clone().oneshot(()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn words_that_end_in_a_panic_are_listened_to_again() {
    let (_fakes, _hand, changes) = fakes(["a"], FAST);
    let asked = AtomicUsize::new(0);
    let check = Says(move || match asked.fetch_add(1, Relaxed) {
        0 => panic!("no words at all"),
        1 => stream::once(broken("none that can be read")).boxed(),
        _ => stream::iter([Ok(Condition::Well)]).chain(stream::pending()).boxed(),
    });
    let balance: Balance<_, ()> =
        Balance::builder(changes).health_check(HealthCheck::default(), check).build();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(states(&balance), [State::Ready]);
}

#[tokio::test(start_paused = true)]
async fn a_load_probe_that_panics_is_an_answer_less() {
    let (_fakes, _hand, changes) = fakes(["a", "b"], FAST);
    let probes = Arc::new(AtomicUsize::new(0));
    let asked = probes.clone();
    let balance = Balance::builder(changes)
        .policy(Prequal::new())
        .load_probe(move |_| match asked.fetch_add(1, Relaxed) {
            0 => panic!("no future at all"),
            n => {
                async move {
                    assert!(n > 1, "none that ends");
                    Ok(Load { in_flight: 0, latency: Duration::ZERO })
                }
            }
        })
        .build();
    for _ in 0..20 {
        settle().await;
        balance.clone().oneshot(()).await.unwrap();
    }
    assert!(probes.load(Relaxed) > 10, "{probes:?}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_whose_description_panics_has_the_usual_attributes() {
    let (_fakes, hand, changes) = fakes(["a"], FAST);
    let balance: Balance<_, ()> = Balance::builder(changes)
        .attributes(|key, _| match *key {
            "a" => panic!("what is an a?"),
            _ => Attributes { weight: 7, ..Attributes::default() },
        })
        .build();
    hand.insert("b", &Fake::new("b", FAST));
    settle().await;
    let weights: Vec<_> = balance.endpoints().iter().map(|view| view.attributes.weight).collect();
    assert_eq!(weights, [1, 7]);
}

/// Finds one endpoint, then panics.
struct Panics(Option<Fake>);

impl Stream for Panics {
    type Item = Result<Change<&'static str, Fake>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let fake = self.0.take().expect("the test wants a panic here");
        Poll::Ready(Some(Ok(Change::Insert("a", fake))))
    }
}

#[tokio::test(start_paused = true)]
async fn what_discovery_said_before_it_panicked_stays() {
    let a = Fake::new("a", Mood::Refuses);
    let balance: Balance<_, ()> = Balance::new(Panics(Some(a.clone())));
    settle().await;
    a.set(FAST);
    assert_eq!(balance.clone().oneshot(()).await.unwrap(), "a", "it is still being connected");
}

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(start_paused = true)]
async fn who_would_wait_for_ever_may() {
    let ([a], _hand, changes) = fakes(["a"], Mood::Refuses);
    let balance: Balance<_, ()> = Balance::builder(changes)
        .failfast(Duration::MAX)
        .reconnect(Reconnect::new(Duration::MAX, Duration::MAX))
        .health_check(HealthCheck::default().interval(Duration::MAX).initial_jitter(Duration::MAX), |_| {
            ready(Ok(()))
        })
        .build();
    assert!(timeout(HOUR, balance.clone().oneshot(())).await.is_err(), "it still waits");
    assert!(balance.endpoints()[0].last_error.is_some(), "{a:?} was tried");

    let failfast = FailfastLayer::new(Duration::MAX).layer(Fake::new("b", Mood::Connecting));
    assert!(timeout(HOUR, failfast.oneshot(())).await.is_err(), "it still waits");
}

#[tokio::test(start_paused = true)]
async fn who_would_never_hedge_need_not() {
    let calls = Arc::new(AtomicUsize::new(0));
    let called = calls.clone();
    let inner = service_fn(move |_: http::Request<_>| {
        called.fetch_add(1, Relaxed);
        pending::<Result<http::Response<String>, BoxError>>()
    });
    let hedge = HedgeLayer::after(Duration::MAX).layer(inner);
    assert!(timeout(HOUR, hedge.oneshot(http::Request::new(String::new()))).await.is_err(), "it still waits");
    assert_eq!(calls.load(Relaxed), 1);
}
