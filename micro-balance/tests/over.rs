//! What has come to an end is said to be, and waited for by nobody: discovery, the runtime, and steps that panic.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::stream;
use micro_balance::{Balance, NotSent, policy::RoundRobin};
use support::{FAST, Fake, Mood, discovery, settle};
use tokio::{
    runtime,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::{BoxError, Service, ServiceExt, discover::Change};

type Said = Result<Change<&'static str, Fake>, BoxError>;

/// All of an error on one line.
fn text(error: &BoxError) -> String {
    let causes = std::iter::successors(Some(&**error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

async fn after(said: Vec<Said>) -> String {
    let balance: Balance<Fake, ()> = Balance::builder(stream::iter(said)).service_name("shop").build();
    let began = Instant::now();
    let answer = balance.clone().oneshot(()).await;
    assert!(began.elapsed() < Duration::from_millis(20), "nobody is waited for");
    answer.map_or_else(|error| text(&error), str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn discovery_that_has_ended_or_failed_is_not_waited_for_and_says_why() {
    let here = || Ok(Change::Insert("a", Fake::new("a", FAST)));
    let prefix = "the request was not sent: service \"shop\": no endpoint is known";
    assert_eq!(after(vec![]).await, format!("{prefix}: discovery has ended"));
    let failed = || Err("who is shop?".into());
    assert_eq!(after(vec![failed()]).await, format!("{prefix}: discovery failed: who is shop?"));
    let gone = vec![here(), Ok(Change::Remove("a")), failed()];
    assert_eq!(after(gone).await, format!("{prefix}: discovery failed: who is shop?"));
    assert_eq!(after(vec![here(), failed()]).await, "a", "what it said before stays");
}

#[tokio::test]
async fn discovery_that_always_has_more_to_say_keeps_nobody_from_the_thread() {
    let (a, b) = (Fake::new("a", FAST), Fake::new("b", FAST));
    let comes_and_goes = move |turn: usize| match turn {
        0 => Change::Insert("a", a.clone()),
        turn if turn % 2 == 1 => Change::Insert("b", b.clone()),
        _ => Change::Remove("b"),
    };
    let changes = stream::iter((0..).map(move |turn| Ok::<_, Infallible>(comes_and_goes(turn))));
    let balance: Balance<Fake, ()> = Balance::new(changes);
    for _ in 0..100 {
        balance.clone().oneshot(()).await.unwrap();
    }
}

fn runtime() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// How long a request took to a balancer whose runtime has ended, and its answer.
fn orphaned(mood: Mood, failfast: Duration) -> (Duration, String) {
    let (fake, built) = (Fake::new("a", FAST), runtime());
    let (hand, changes) = discovery();
    hand.insert("a", &fake);
    let balance: Balance<Fake, ()> = built.block_on(async {
        let balance = Balance::builder(changes).failfast(failfast).build();
        balance.clone().oneshot(()).await.unwrap();
        balance
    });
    drop(built);
    fake.set(mood);
    runtime().block_on(async {
        let began = Instant::now();
        let answer = timeout(Duration::from_secs(60), balance.clone().oneshot(())).await;
        let answer = answer.unwrap_or_else(|_| Err("waited for ever".into()));
        (began.elapsed(), answer.map_or_else(|error| text(&error), str::to_owned))
    })
}

#[test]
fn a_balancer_outlives_its_runtime_and_says_so_where_it_cannot_go_on() {
    assert_eq!(orphaned(FAST, Duration::from_secs(3)).1, "a");
    for failfast in [Duration::ZERO, Duration::from_secs(3), Duration::MAX] {
        let (waited, error) = orphaned(Mood::Refuses, failfast);
        assert!(error.contains("the Tokio runtime ends that it was built on"), "{error}");
        assert!(waited < Duration::from_secs(1), "{waited:?}");
    }
}

#[test]
fn a_request_that_waits_is_told_when_the_runtime_ends() {
    let built = runtime();
    let (_hand, changes) = discovery();
    let balance: Balance<Fake, ()> =
        built.block_on(async { Balance::builder(changes).failfast(Duration::MAX).build() });
    runtime().block_on(async {
        let request = tokio::spawn(balance.clone().oneshot(()));
        settle().await;
        drop(std::thread::spawn(move || drop(built)).join());
        let error = timeout(Duration::from_secs(60), request).await.unwrap().unwrap().unwrap_err();
        assert!(NotSent::is(error.as_ref()) && text(&error).contains("no endpoint is known"), "{error:?}");
    });
}

/// Panics when it is cloned, or when it ends, as often as it is told.
struct Fragile {
    inner: Fake,
    clones: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
}

impl Fragile {
    fn new(name: &'static str, clones: usize, ends: bool) -> Self {
        let inner = Fake::new(name, FAST);
        Self { inner, clones: Arc::new(clones.into()), ends: Arc::new(ends.into()) }
    }
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        let again = |left: usize| left.checked_sub(1);
        assert!(self.clones.fetch_update(Relaxed, Relaxed, again).is_err(), "no clone of this");
        Self { inner: self.inner.clone(), clones: self.clones.clone(), ends: self.ends.clone() }
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || !self.ends.load(Relaxed), "no end of this");
    }
}

impl Service<()> for Fragile {
    type Response = &'static str;
    type Error = BoxError;
    type Future = <Fake as Service<()>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::<()>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: ()) -> Self::Future {
        self.inner.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_panics_when_it_is_cloned_or_dropped_costs_nobody_but_itself() {
    let (changes, said) = mpsc::unbounded_channel();
    let say = |change: Change<&'static str, Fragile>| changes.send(Ok::<_, Infallible>(change)).unwrap();
    let balance: Balance<Fragile, (), RoundRobin> =
        Balance::builder(UnboundedReceiverStream::new(said)).policy(RoundRobin::new()).build();
    let fragile = Fragile::new("a", 0, false);
    let ends = fragile.ends.clone();
    say(Change::Insert("a", fragile));
    settle().await;
    assert_eq!(balance.clone().oneshot(()).await.unwrap(), "a");
    ends.store(true, Relaxed);
    say(Change::Remove("a"));
    settle().await;
    ends.store(false, Relaxed);
    for (name, clones) in [("b", 1), ("c", 2), ("d", 3), ("e", 0)] {
        say(Change::Insert(name, Fragile::new(name, clones, false)));
        settle().await;
    }
    let mut answers: Vec<_> = Vec::new();
    for _ in 0..8 {
        answers.push(balance.clone().oneshot(()).await.unwrap());
    }
    assert!(answers.contains(&"e") && !answers.contains(&"a"), "{answers:?}");
    // One that is let go of while it is being connected.
    let mut fragile = Fragile::new("f", 0, false);
    fragile.inner = Fake::new("f", Mood::Connecting);
    let ends = fragile.ends.clone();
    say(Change::Insert("f", fragile));
    settle().await;
    ends.store(true, Relaxed);
    say(Change::Remove("f"));
    settle().await;
    ends.store(false, Relaxed);
    // Whoever could not be cloned when it came is there once discovery says it again.
    say(Change::Insert("b", Fragile::new("b", 0, false)));
    settle().await;
    assert_eq!(balance.endpoints().len(), 4);
    for _ in 0..8 {
        answers.push(balance.clone().oneshot(()).await.unwrap());
    }
    assert!(answers.contains(&"b"), "{answers:?}");
}
