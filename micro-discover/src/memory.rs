//! Keeps records in this process: for tests, examples and systems of one binary.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::endless::YEAR;
use crate::merge::{merge, split};
use crate::record::{EndpointId, Service, check_service_name};
use crate::registry::{Error, Registry, check_announced};

/// A registry whose clones share one table.
///
/// Time is tokio's, so a test that pauses the clock decides when announcements expire.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    table: Arc<Mutex<Table>>,
}

type Table = BTreeMap<String, Shelf>;

/// The endpoints of one service name, and who wants to know about them.
#[derive(Debug, Default)]
struct Shelf {
    leases: BTreeMap<EndpointId, Lease>,
    changed: watch::Sender<()>,
}

/// One endpoint's record, and until when it counts; none is for ever.
#[derive(Debug)]
struct Lease {
    record: Service,
    end: Option<Instant>,
}

const BACKEND: &str = "memory";

impl Memory {
    /// An empty registry of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// The registry that everyone in this process shares under `name`, for as long as anyone holds it.
    pub fn shared(name: &str) -> Self {
        static SHARED: OnceLock<Mutex<HashMap<String, Weak<Mutex<Table>>>>> = OnceLock::new();
        let mut shared = SHARED.get_or_init(Mutex::default).lock().expect(NO_PANIC);
        if let Some(table) = shared.get(name).and_then(Weak::upgrade) {
            return Self { table };
        }
        shared.retain(|_, table| table.strong_count() > 0);
        let fresh = Self::new();
        shared.insert(name.to_owned(), Arc::downgrade(&fresh.table));
        fresh
    }

    fn with<R>(&self, f: impl FnOnce(&mut Table) -> R) -> R {
        f(&mut self.table.lock().expect(NO_PANIC))
    }

    fn put(&self, service: &Service, ttl: Duration) {
        let end = (!ttl.is_zero()).then(|| far(Instant::now(), ttl));
        self.with(|table| {
            let shelf = table.entry(service.name.clone()).or_default();
            let mut changed = shelf.sweep();
            for record in split(service) {
                let id = record.endpoints[0].id.clone();
                changed |= shelf.leases.get(&id).is_none_or(|old| old.record != record);
                shelf.leases.insert(id, Lease { record, end });
            }
            if changed {
                shelf.changed.send_replace(());
            }
        });
    }

    fn remove(&self, service: &Service) {
        self.with(|table| {
            let Some(shelf) = table.get_mut(&service.name) else { return };
            for endpoint in &service.endpoints {
                let ours = |lease: &Lease| {
                    lease.record.version == service.version
                        && lease.record.endpoints[0].address == endpoint.address
                };
                if shelf.leases.get(&endpoint.id).is_some_and(ours) {
                    shelf.leases.remove(&endpoint.id);
                    shelf.changed.send_replace(());
                }
            }
            table.retain(|_, shelf| !shelf.is_idle());
        });
    }

    /// The live set of `name`, and when it next shrinks by itself.
    fn live(&self, name: &str) -> (Vec<Service>, Option<Instant>) {
        self.with(|table| {
            let Some(shelf) = table.get_mut(name) else { return (Vec::new(), None) };
            shelf.sweep();
            let next = shelf.leases.values().filter_map(|lease| lease.end).min();
            (merge(shelf.leases.values().map(|lease| &lease.record)), next)
        })
    }
}

const NO_PANIC: &str = "nothing under this lock can panic";

/// `now + ttl`, for any `ttl`.
fn far(now: Instant, ttl: Duration) -> Instant {
    now + ttl.min(YEAR)
}

impl Shelf {
    /// Drops what has expired; whether there was any.
    fn sweep(&mut self) -> bool {
        let (before, now) = (self.leases.len(), Instant::now());
        self.leases.retain(|_, lease| lease.end.is_none_or(|end| end > now));
        self.leases.len() != before
    }

    fn is_idle(&self) -> bool {
        self.leases.is_empty() && self.changed.receiver_count() == 0
    }
}

impl Registry for Memory {
    fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let done = check_announced(BACKEND, service).map(|()| self.put(service, ttl));
        Box::pin(async { done })
    }

    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
        let done = check_announced(BACKEND, service).map(|()| self.remove(service));
        Box::pin(async { done })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        Box::pin(async {
            let names = self.with(|table| table.keys().cloned().collect::<Vec<_>>());
            Ok(names.iter().flat_map(|name| self.live(name).0).collect())
        })
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let checked = check_service_name(name).map_err(|what| Error::Invalid { backend: BACKEND, what });
        let name = name.to_owned();
        Box::pin(async move { checked.map(|()| self.live(&name).0) })
    }

    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        if let Err(what) = check_service_name(name) {
            return stream::iter([Err(Error::Invalid { backend: BACKEND, what })]).boxed();
        }
        let changed = self.with(|table| table.entry(name.to_owned()).or_default().changed.subscribe());
        let watcher = Watcher { memory: self.clone(), name: name.to_owned(), changed, last: None };
        stream::unfold(watcher, Watcher::next).boxed()
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}

struct Watcher {
    memory: Memory,
    name: String,
    changed: watch::Receiver<()>,
    last: Option<Vec<Service>>,
}

impl Watcher {
    /// Waits for a set that differs from the last one. Ends never: the table keeps the sender of whoever watches.
    async fn next(mut self) -> Option<(Result<Vec<Service>, Error>, Self)> {
        loop {
            self.changed.borrow_and_update();
            let (set, next) = self.memory.live(&self.name);
            if self.last.as_ref() != Some(&set) {
                self.last = Some(set.clone());
                return Some((Ok(set), self));
            }
            match next {
                Some(end) => drop(tokio::time::timeout_at(end, self.changed.changed()).await),
                None => self.changed.changed().await.ok()?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Endpoint;

    fn greeter(id: &str) -> Service {
        Service::new("greeter").endpoint(Endpoint::new(id, "h:1".parse().unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_announcement_that_is_not_renewed_expires_and_watchers_are_told() {
        let memory = Memory::new();
        let ttl = Duration::from_secs(10);
        memory.announce(&greeter("a"), ttl).await.unwrap();
        let mut sets = memory.watch("greeter");
        assert_eq!(sets.next().await.unwrap().unwrap(), [greeter("a")]);

        tokio::time::advance(Duration::from_secs(9)).await;
        memory.announce(&greeter("a"), ttl).await.unwrap();
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(memory.get("greeter").await.unwrap(), [greeter("a")]);

        let started = Instant::now();
        assert_eq!(sets.next().await.unwrap().unwrap(), []);
        assert_eq!(started.elapsed().as_secs(), 1);
        assert_eq!(memory.list().await.unwrap(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_announcement_without_ttl_stays() {
        let memory = Memory::new();
        memory.announce(&greeter("a"), Duration::ZERO).await.unwrap();
        memory.announce(&greeter("b"), Duration::MAX).await.unwrap();
        tokio::time::advance(Duration::from_secs(1_000_000)).await;
        assert_eq!(memory.get("greeter").await.unwrap()[0].endpoints.len(), 2);
    }

    #[tokio::test]
    async fn what_nobody_announces_or_watches_takes_no_room() {
        let memory = Memory::new();
        drop(memory.watch("greeter"));
        memory.announce(&greeter("a"), Duration::ZERO).await.unwrap();
        memory.withdraw(&greeter("a")).await.unwrap();
        assert!(memory.with(|table| table.is_empty()));
    }

    #[tokio::test]
    async fn one_name_is_one_table_in_the_whole_process() {
        let (one, same, other) = (Memory::shared("t1"), Memory::shared("t1"), Memory::shared("t2"));
        one.announce(&greeter("a"), Duration::ZERO).await.unwrap();
        assert_eq!(same.get("greeter").await.unwrap().len(), 1);
        assert_eq!(other.get("greeter").await.unwrap().len(), 0);
    }
}
