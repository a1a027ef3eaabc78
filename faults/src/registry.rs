//! A registry in this process that can be out of reach, and counts how often it is asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_core::{future::BoxFuture, stream::BoxStream};
use futures_util::{StreamExt as _, stream};
use micro_discover::{Error, Memory, Registry, Service};
use tokio::sync::watch;

/// [`Memory`], as long as it can be reached.
#[derive(Clone, Debug)]
pub(crate) struct Switch {
    memory: Memory,
    up: Arc<watch::Sender<bool>>,
    asked: Arc<AtomicUsize>,
}

impl Switch {
    /// One that can be reached.
    pub(crate) fn new() -> Self {
        Self { memory: Memory::new(), up: Arc::new(watch::Sender::new(true)), asked: Arc::default() }
    }

    /// Whether it can be reached from now on.
    pub(crate) fn set(&self, up: bool) {
        self.up.send_replace(up);
    }

    /// How often it was asked anything.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Relaxed)
    }

    fn reach(&self, what: &str) -> Result<(), Error> {
        self.asked.fetch_add(1, Relaxed);
        if *self.up.borrow() { Ok(()) } else { Err(away(what)) }
    }
}

fn away(what: &str) -> Error {
    Error::Unavailable { backend: "switch", what: what.to_owned(), source: "it is out of reach".into() }
}

impl Registry for Switch {
    fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        Box::pin(async move {
            self.reach("announce")?;
            self.memory.announce(&service, ttl).await
        })
    }

    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        Box::pin(async move {
            self.reach("withdraw")?;
            self.memory.withdraw(&service).await
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        Box::pin(async {
            self.reach("list")?;
            self.memory.list().await
        })
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let name = name.to_owned();
        Box::pin(async move {
            self.reach("get")?;
            self.memory.get(&name).await
        })
    }

    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        if let Err(error) = self.reach("watch") {
            return stream::iter([Err(error)]).boxed();
        }
        let mut up = self.up.subscribe();
        let lost = async move {
            // The sender lives as long as the registry.
            let _ = up.wait_for(|up| !up).await;
        };
        let end = stream::iter([Err(away("watch"))]);
        self.memory.watch(name).take_until(lost).chain(end).boxed()
    }

    fn backend(&self) -> &'static str {
        "switch"
    }
}
