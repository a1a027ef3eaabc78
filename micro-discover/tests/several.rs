//! Registries made of registries.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use futures_util::stream;
use micro_discover::{Cache, Chain, Endpoint, Error, Memory, Registry, Service, Union};

/// A registry that can be switched off.
#[derive(Clone, Debug, Default)]
struct Switched {
    memory: Memory,
    off: Arc<AtomicBool>,
}

impl Switched {
    fn off(&self, off: bool) {
        self.off.store(off, SeqCst);
    }

    fn check(&self) -> Result<(), Error> {
        match self.off.load(SeqCst) {
            true => Err(Error::Unavailable {
                backend: "switched",
                what: "answer".to_owned(),
                source: "off".into(),
            }),
            false => Ok(()),
        }
    }
}

impl Registry for Switched {
    fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        Box::pin(async move {
            self.check()?;
            self.memory.announce(&service, ttl).await
        })
    }

    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        Box::pin(async move {
            self.check()?;
            self.memory.withdraw(&service).await
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        Box::pin(async move {
            self.check()?;
            self.memory.list().await
        })
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let name = name.to_owned();
        Box::pin(async move {
            self.check()?;
            self.memory.get(&name).await
        })
    }

    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        match self.check() {
            Ok(()) => self.memory.watch(name),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn backend(&self) -> &'static str {
        "switched"
    }
}

fn greeter(id: &str) -> Service {
    Service::new("greeter").endpoint(Endpoint::new(id, "h:1".parse().unwrap()))
}

fn ids(set: &[Service]) -> Vec<&str> {
    set.iter().flat_map(|service| &service.endpoints).map(|endpoint| endpoint.id.as_str()).collect()
}

fn two() -> (Switched, Switched) {
    (Switched::default(), Switched::default())
}

#[tokio::test(start_paused = true)]
async fn a_union_has_what_any_has_and_keeps_what_a_failing_one_had() {
    let (a, b) = two();
    let union = Union::new([Arc::new(a.clone()) as Arc<dyn Registry>, Arc::new(b.clone())]);
    a.announce(&greeter("a"), Duration::ZERO).await.unwrap();
    a.announce(&greeter("both").version("1"), Duration::ZERO).await.unwrap();
    b.announce(&greeter("both").version("2"), Duration::ZERO).await.unwrap();
    b.off(true);
    assert!(union.get("greeter").await.unwrap_err().is_retryable(), "half of it is not the truth");
    let mut sets = union.watch("greeter");
    assert!(tokio::time::timeout(Duration::from_secs(60), sets.next()).await.is_err());
    b.off(false);
    let set = sets.next().await.unwrap().unwrap();
    assert_eq!(ids(&set), ["both", "a"]);
    assert_eq!(set[0].version, "1", "the first registry's word");

    union.announce(&greeter("all"), Duration::ZERO).await.unwrap();
    assert_eq!(ids(&a.get("greeter").await.unwrap()), ["both", "a", "all"]);
    assert_eq!(ids(&b.get("greeter").await.unwrap()), ["both", "all"]);
    assert_eq!(ids(&union.get("greeter").await.unwrap()), ["both", "a", "all"]);
    assert_eq!(ids(&union.list().await.unwrap()), ["both", "a", "all"], "each once");
    union.withdraw(&greeter("all")).await.unwrap();
    assert_eq!(ids(&union.get("greeter").await.unwrap()), ["both", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_speaks_until_the_primary_has_and_never_again() {
    let (primary, fallback) = two();
    let chain = Chain::new(Arc::new(primary.clone()), Arc::new(fallback.clone()));
    primary.announce(&greeter("p"), Duration::ZERO).await.unwrap();
    fallback.announce(&greeter("f"), Duration::ZERO).await.unwrap();
    primary.off(true);
    assert_eq!(ids(&chain.get("greeter").await.unwrap()), ["f"]);
    let mut sets = chain.watch("greeter");
    assert_eq!(ids(&sets.next().await.unwrap().unwrap()), ["f"]);
    primary.off(false);
    assert_eq!(ids(&sets.next().await.unwrap().unwrap()), ["p"]);
    fallback.announce(&greeter("g"), Duration::ZERO).await.unwrap();
    primary.announce(&greeter("q"), Duration::ZERO).await.unwrap();
    assert_eq!(ids(&sets.next().await.unwrap().unwrap()), ["p", "q"]);
    assert_eq!(ids(&chain.get("greeter").await.unwrap()), ["p", "q"]);
}

#[tokio::test(start_paused = true)]
async fn a_cache_answers_while_fresh_and_stale_while_the_registry_fails() {
    let registry = Switched::default();
    let cache = Cache::new(Arc::new(registry.clone()), Duration::from_secs(60));
    registry.announce(&greeter("a"), Duration::ZERO).await.unwrap();
    assert_eq!(ids(&cache.get("greeter").await.unwrap()), ["a"]);
    registry.announce(&greeter("b"), Duration::ZERO).await.unwrap();
    assert_eq!(ids(&cache.get("greeter").await.unwrap()), ["a"], "still fresh");
    registry.off(true);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(ids(&cache.get("greeter").await.unwrap()), ["a"], "stale is better than nothing");
    assert!(cache.get("unknown").await.unwrap_err().is_retryable());
    registry.off(false);
    assert_eq!(ids(&cache.get("greeter").await.unwrap()), ["a", "b"]);
}
