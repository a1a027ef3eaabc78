//! The watch goes on, whatever its registry does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, stream};
use micro_discover::{Endpoint, Error, Memory, Registry, Service, Watch};
use tokio::time::Instant;

/// What a scripted registry does each time it is watched.
enum Act {
    /// These sets, then nothing more, without an end.
    Sets(Vec<Vec<Service>>),
    /// This set, then an error.
    Fails(Vec<Service>),
    /// This set, then the end.
    Ends(Vec<Service>),
    Refuses,
    PanicsAtOnce,
    PanicsLater,
}

/// Plays one act per watch; when none is left it refuses.
#[derive(Clone, Default)]
struct Scripted {
    acts: Arc<Mutex<Vec<Act>>>,
    watched: Arc<Mutex<Vec<Instant>>>,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

fn down() -> Error {
    Error::Unavailable { backend: "scripted", what: "watch".into(), source: "connection refused".into() }
}

impl Registry for Scripted {
    fn announce(&self, _: &Service, _: Duration) -> BoxFuture<'_, Result<(), Error>> {
        unreachable!()
    }
    fn withdraw(&self, _: &Service) -> BoxFuture<'_, Result<(), Error>> {
        unreachable!()
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        unreachable!()
    }
    fn get(&self, _: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        unreachable!()
    }
    fn watch(&self, _: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        self.watched.lock().unwrap().push(Instant::now());
        let act = self.acts.lock().unwrap().pop().unwrap_or(Act::Refuses);
        match act {
            Act::Sets(sets) => stream::iter(sets.into_iter().map(Ok)).chain(stream::pending()).boxed(),
            Act::Fails(set) => stream::iter([Ok(set), Err(down())]).boxed(),
            Act::Ends(set) => stream::iter([Ok(set)]).boxed(),
            Act::Refuses => stream::iter([Err(down())]).boxed(),
            Act::PanicsAtOnce => panic!("a bug in the registry"),
            Act::PanicsLater => stream::poll_fn(|_| panic!("a bug in its stream")).boxed(),
        }
    }
    fn backend(&self) -> &'static str {
        "scripted"
    }
}

fn scripted(acts: impl IntoIterator<Item = Act, IntoIter: DoubleEndedIterator>) -> (Watch, Scripted) {
    let scripted = Scripted::default();
    scripted.acts.lock().unwrap().extend(acts.into_iter().rev());
    (Watch::new(Arc::new(scripted.clone()), "greeter").seed(7), scripted)
}

fn set(id: &str) -> Vec<Service> {
    vec![Service::new("greeter").endpoint(Endpoint::new(id, "h:1".parse().unwrap()))]
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_fails_ends_or_panics_is_asked_again_and_no_set_is_lost_or_repeated() {
    let (mut watch, _) = scripted([
        Act::Refuses,
        Act::Fails(set("a")),
        Act::PanicsAtOnce,
        Act::Ends(set("a")),
        Act::PanicsLater,
        Act::Sets(vec![set("a"), set("b"), set("b"), set("c")]),
    ]);
    let status = watch.status();
    assert!(!status.resolved() && status.stale_since().is_none());
    for expected in ["a", "b", "c"] {
        assert_eq!(watch.next().await, Some(set(expected)));
    }
    assert!(status.resolved() && status.stale_since().is_none() && status.last_ok().is_some());
    assert_eq!(status.last_error().as_deref(), Some("the registry panicked"));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_gone_leaves_the_last_set_and_says_since_when() {
    let (mut watch, scripted) = scripted([Act::Fails(set("a"))]);
    let status = watch.status();
    let started = Instant::now();
    assert_eq!(watch.next().await, Some(set("a")));
    assert!(
        tokio::time::timeout(Duration::from_secs(3600), watch.next()).await.is_err(),
        "nothing, not emptiness"
    );
    assert_eq!(status.stale_since(), Some(started));
    let error = status.last_error().unwrap();
    assert_eq!(error, "the scripted registry cannot watch: connection refused");

    let asked = scripted.watched.lock().unwrap().clone();
    let waits: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.iter().all(|wait| (49..=10_001).contains(&wait.as_millis())), "{waits:?}");
    assert!(waits[0] <= Duration::from_millis(901), "the first comes soon");
    assert!((360..5_000).contains(&asked.len()), "{} times in an hour", asked.len());

    scripted.acts.lock().unwrap().push(Act::Sets(vec![set("b")]));
    assert_eq!(watch.next().await, Some(set("b")));
    assert_eq!(status.stale_since(), None);
}

#[tokio::test(start_paused = true)]
async fn an_endless_flapper_is_not_asked_in_a_busy_loop() {
    let (mut watch, scripted) = scripted((0..10_000).map(|_| Act::Ends(set("a"))));
    assert_eq!(watch.next().await, Some(set("a")));
    assert!(tokio::time::timeout(Duration::from_secs(600), watch.next()).await.is_err());
    assert!(scripted.watched.lock().unwrap().len() < 1_500);
}

#[tokio::test(start_paused = true)]
async fn a_first_set_that_is_empty_is_an_answer() {
    let (mut watch, _) = scripted([Act::Sets(vec![Vec::new()])]);
    assert_eq!(watch.next().await, Some(Vec::new()));
    assert!(watch.status().resolved());
}

#[tokio::test]
async fn a_next_that_is_dropped_halfway_loses_nothing() {
    let memory = Memory::new();
    let mut watch = Watch::new(Arc::new(memory.clone()), "greeter");
    assert_eq!(watch.next().await, Some(Vec::new()));
    for id in ["a", "b", "c"] {
        assert!(watch.next().now_or_never().is_none());
        let record = set(id).remove(0);
        memory.announce(&record, Duration::ZERO).await.unwrap();
        assert!(watch.next().await.unwrap()[0].endpoints.iter().any(|endpoint| endpoint.id == id));
    }
}

#[test]
fn watches_can_go_anywhere() {
    fn anywhere<T: Send + Unpin + 'static>() {}
    anywhere::<Watch>();
    anywhere::<micro_discover::Endpoints>();
    anywhere::<micro_discover::Connect<Box<dyn FnMut(&Endpoint) + Send>>>();
    anywhere::<micro_discover::Announcement>();
    fn shared<T: Send + Sync + Clone>() {}
    shared::<micro_discover::Status>();
    shared::<micro_discover::Filter>();
    shared::<Arc<dyn Registry>>();
}
