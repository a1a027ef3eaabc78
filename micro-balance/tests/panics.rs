//! What others wrote may panic, and counts as a failure then; no setting makes anything panic. Time is paused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    convert::Infallible,
    future::{pending, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
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
    Attributes, Balance, Ejection, Endpoint, Reconnect, State,
    failfast::FailfastLayer,
    health::{Check, Condition, HealthCheck},
    hedge::HedgeLayer,
    limit::{Algorithm, LimitLayer, Sample},
    policy::{Context as Pick, Load, Policy, Prequal, RoundRobin},
    retry::{Budget, RetryLayer},
};
use support::{FAST, Fake, Mood, count, fakes, settle};
use tokio::time::{sleep, timeout};
use tower::{BoxError, Layer, Service, ServiceExt, discover::Change, service_fn};

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

/// Picks anybody, and panics over its table once it is told to.
#[derive(Clone, Default)]
struct Touchy(Arc<AtomicBool>);

impl Policy for Touchy {
    type Table = ();

    fn table(&self, _: &[Endpoint]) {
        assert!(!self.0.swap(false, Relaxed), "the test wants a panic here");
    }

    fn pick(&self, (): &(), endpoints: &[Endpoint], context: &Pick<'_>) -> Option<usize> {
        Some(context.chance.below(endpoints.len()))
    }
}

#[tokio::test(start_paused = true)]
async fn who_came_when_the_policy_panicked_is_there_after_the_next_change() {
    let (_fakes, hand, changes) = fakes(["b", "d"], FAST);
    let policy = Touchy::default();
    let balance: Balance<_, (), _> = Balance::builder(changes).policy(policy.clone()).build();
    settle().await;
    policy.0.store(true, Relaxed);
    hand.insert("a", &Fake::new("a", FAST));
    settle().await;
    assert!(!policy.0.load(Relaxed), "it has panicked");
    hand.insert("c", &Fake::new("c", FAST));
    settle().await;
    let mut answers = Vec::new();
    for _ in 0..100 {
        answers.push(balance.clone().oneshot(()).await.unwrap());
    }
    assert_eq!(count(answers).into_keys().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
}

/// Panics where it is told to.
#[derive(Debug)]
struct Brittle {
    inner: Fake,
    breaks: Arc<AtomicUsize>,
}

const NOWHERE: usize = 0;
const CLONED: usize = 1;
const ASKED: usize = 2;
const CALLED: usize = 3;
const AWAITED: usize = 4;

impl Brittle {
    fn new(fake: Fake) -> Self {
        Self { inner: fake, breaks: Arc::default() }
    }

    fn at(&self, place: usize) {
        assert!(self.breaks.load(Relaxed) != place, "the test wants a panic here");
    }
}

impl Clone for Brittle {
    fn clone(&self) -> Self {
        self.at(CLONED);
        Self { inner: self.inner.clone(), breaks: self.breaks.clone() }
    }
}

impl<Req: Send + 'static> Service<Req> for Brittle {
    type Response = &'static str;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<&'static str, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.at(ASKED);
        Service::<Req>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        self.at(CALLED);
        let (answer, breaks) = (self.inner.call(request), self.breaks.clone());
        Box::pin(async move {
            assert!(breaks.load(Relaxed) != AWAITED, "the test wants a panic here");
            answer.await
        })
    }
}

/// Makes a request in a task of its own, which panics take along.
async fn spawned<S>(service: &S) -> bool
where
    S: Service<(), Future: Send> + Clone + Send + 'static,
    S::Response: Send,
    S::Error: Send,
{
    let mut service = service.clone();
    let request = async move {
        std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(()).await
    };
    matches!(tokio::spawn(request).await, Ok(Ok(_)))
}

#[tokio::test(start_paused = true)]
async fn a_request_that_panics_while_it_tries_an_ejected_endpoint_leaves_it_to_the_next() {
    for place in [CLONED, ASKED, CALLED, AWAITED] {
        let ([a, b], _hand, changes) = fakes(["a", "b"], Mood::Fails(Duration::ZERO));
        let brittle = Brittle::new(a.clone());
        let breaks = brittle.breaks.clone();
        let changes = changes.map(move |change| {
            change.map(|change| match change {
                Change::Insert("a", _) => Change::Insert("a", brittle.clone()),
                Change::Insert(name, fake) => Change::Insert(name, Brittle::new(fake)),
                Change::Remove(name) => Change::Remove(name),
            })
        });
        let ejection = Ejection::default().consecutive_failures(1).base(Duration::from_secs(1));
        let balance = Balance::builder(changes).policy(RoundRobin::starting_at(0)).ejection(ejection).build();
        settle().await;
        assert!(!spawned(&balance).await);
        a.set(FAST);
        b.set(FAST);
        sleep(Duration::from_millis(1_010)).await;
        let states =
            || balance.endpoints().iter().map(|view| (view.state, view.in_flight)).collect::<Vec<_>>();
        assert_eq!(states(), [(State::HalfOpen, 0), (State::Ready, 0)]);
        breaks.store(place, Relaxed);
        assert!(!spawned(&balance).await, "it panics in {place}");
        breaks.store(NOWHERE, Relaxed);
        for _ in 0..20 {
            sleep(Duration::from_millis(500)).await;
            assert!(spawned(&balance).await);
        }
        assert_eq!(states(), [(State::Ready, 0); 2], "after a panic in {place}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_panics_when_it_is_called_leaves_nothing_under_way_in_a_budget() {
    let half = Budget::concurrent(50.0, 0).unwrap();
    let layers = (
        RetryLayer::new().budget(half.clone()),
        HedgeLayer::after(Duration::from_millis(1)).budget(half.clone()),
    );
    let breaks = |_: http::Request<_>| -> std::future::Ready<Result<http::Response<String>, BoxError>> {
        panic!("the test wants a panic here")
    };
    let request = || http::Request::new(String::new());
    for _ in 0..4 {
        let (retries, hedges) = (layers.0.layer(service_fn(breaks)), layers.1.layer(service_fn(breaks)));
        assert!(tokio::spawn(retries.oneshot(request())).await.is_err());
        assert!(tokio::spawn(hedges.oneshot(request())).await.is_err());
    }
    assert_eq!(half.balance(), 0, "half of none");
}

/// Learns nothing the first time.
#[derive(Debug)]
struct SlowToLearn(u32);

impl Algorithm for SlowToLearn {
    fn limit(&self) -> u32 {
        10
    }

    fn update(&mut self, _: Sample) -> u32 {
        self.0 += 1;
        assert!(self.0 > 1, "the test wants a panic here");
        20
    }
}

#[tokio::test(start_paused = true)]
async fn an_algorithm_that_has_panicked_is_asked_again() {
    let limit = LimitLayer::adaptive(SlowToLearn(0)).window(Duration::ZERO);
    let service = limit.layer(Fake::new("a", FAST));
    assert!(!spawned(&service).await);
    for _ in 0..20 {
        assert!(spawned(&service).await);
    }
    assert_eq!((limit.limit(), limit.in_flight()), (20, 0));
}
