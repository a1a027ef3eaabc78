//! A registry with a way to it that may be down.

use std::{sync::Arc, time::Duration};

use futures_core::{future::BoxFuture, stream::BoxStream};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use micro_discover::{Error, Memory, Registry, Service};
use tokio::sync::watch;

/// What is the matter with the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    /// Everything that is asked fails, at once.
    Fails,
    /// Everything that is asked waits, watches included.
    Hangs,
}

/// [`Memory`], as far as it can be reached.
#[derive(Clone, Debug)]
pub(super) struct Flaky {
    memory: Memory,
    health: Arc<watch::Sender<Health>>,
}

impl Flaky {
    pub(super) fn new() -> Self {
        Self { memory: Memory::new(), health: Arc::new(watch::Sender::new(Health::Well)) }
    }

    pub(super) fn set(&self, health: Health) {
        self.health.send_replace(health);
    }

    /// `work`, as soon as the registry can be reached.
    fn reach<'a, T: Send + 'a>(
        &self,
        what: &str,
        work: impl FnOnce() -> BoxFuture<'a, Result<T, Error>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Error>> {
        let (mut health, what) = (self.health.subscribe(), what.to_owned());
        async move {
            let health = health.wait_for(|health| *health != Health::Hangs).await.map(|health| *health);
            match health {
                Ok(Health::Well) => work().await,
                _ => Err(down(&what)),
            }
        }
        .boxed()
    }
}

fn down(what: &str) -> Error {
    Error::Unavailable { backend: "flaky", what: what.to_owned(), source: "it is down".into() }
}

impl Registry for Flaky {
    fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        self.reach("announce", move || async move { self.memory.announce(&service, ttl).await }.boxed())
    }

    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        self.reach("withdraw", move || async move { self.memory.withdraw(&service).await }.boxed())
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        self.reach("list", move || self.memory.list())
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let name = name.to_owned();
        self.reach("get", move || async move { self.memory.get(&name).await }.boxed())
    }

    /// Ends with an error when the registry fails, and says nothing while it hangs.
    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        let sets = self.memory.watch(name);
        let state = (sets, self.health.subscribe(), false);
        stream::unfold(state, async |(mut sets, mut health, ended)| {
            if ended {
                return None;
            }
            loop {
                let now = *health.borrow_and_update();
                match now {
                    Health::Fails => return Some((Err(down("watch")), (sets, health, true))),
                    Health::Hangs => health.changed().await.ok()?,
                    Health::Well => {
                        tokio::select! {
                            set = sets.next() => return Some((set?, (sets, health, false))),
                            changed = health.changed() => changed.ok()?,
                        }
                    }
                }
            }
        })
        .boxed()
    }

    fn backend(&self) -> &'static str {
        "flaky"
    }
}
