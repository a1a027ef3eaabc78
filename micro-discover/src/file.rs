//! The embedded registry: a directory that any process of this user can share, with no server.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use self::feed::{Feed, News};
use self::place::Place;
use self::store::{BACKEND, Store, Table};
use crate::record::{Service, check_service_name};
use crate::registry::{Error, Registry, check_announced};

mod cache;
mod disk;
mod feed;
mod lease;
mod place;
mod store;

/// A registry in a directory: one JSON file per endpoint, replaced at once, renewed by its announcer.
///
/// * Watchers learn of a change by notification, in milliseconds, and look once a second whatever happens.
/// * An endpoint goes when it is withdrawn or its announcer has not renewed it for its TTL; anyone removes the file
///   later. Leases run on the machine's monotonic clock, so setting the wall clock drops nobody. Between
///   machines that share a directory the wall clocks are compared, but only until a renewal is seen.
/// * Everything else that happens to files drops nobody either: what is missing, half-written, foreign or huge
///   is ignored, logged once, and what was known stands until its TTL. A removed directory is made again.
/// * On a full disk what is announced stays announced; what is new is an error, and tried again.
/// * No name becomes a path, and records are at most 1 MiB.
///
/// Clones share one thread that watches. Calls need a tokio runtime: files are not touched on its async workers.
#[derive(Clone, Debug)]
pub struct File {
    store: Arc<Store>,
    feed: Arc<Feed>,
}

impl File {
    /// The registry in `dir`, which is made when it is first needed.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self::at(Place::explicit(dir.into()))
    }

    /// The registry that all processes of this user share: in `MICRO_REGISTRY_DIR`, or else in
    /// `$XDG_RUNTIME_DIR/micro/registry`, or else in `micro-<uid>/registry` below the temporary directory.
    ///
    /// The last two are refused, when they are used, if others than this user can write there.
    pub fn of_user() -> Self {
        Self::at(Place::of_user(|name| env::var_os(name), &env::temp_dir()))
    }

    fn at(place: Place) -> Self {
        let store = Arc::new(Store::new(place));
        Self { feed: Feed::new(store.clone()), store }
    }

    /// Where the files are.
    pub fn dir(&self) -> &std::path::Path {
        &self.store.place.dir
    }

    fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<R, Error> + Send + 'static,
    ) -> BoxFuture<'_, Result<R, Error>> {
        let store = self.store.clone();
        Box::pin(blocking(move || work(&store)))
    }
}

impl Registry for File {
    fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        self.run(move |store| check_announced(BACKEND, &service).and_then(|()| store.put(&service, ttl)))
    }

    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        self.run(move |store| check_announced(BACKEND, &service).and_then(|()| store.remove(&service)))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        self.run(|store| Ok(store.look()?.services.values().flatten().cloned().collect()))
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let name = name.to_owned();
        self.run(move |store| {
            check_service_name(&name).map_err(|what| Error::Invalid { backend: BACKEND, what })?;
            Ok(store.look()?.services.get(&name).cloned().unwrap_or_default())
        })
    }

    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        let checked = check_service_name(name).map_err(|what| Error::Invalid { backend: BACKEND, what });
        match checked.and_then(|()| self.feed.subscribe()) {
            Ok(news) => {
                let store = self.store.clone();
                let watcher = FileWatcher { store, news, name: name.to_owned(), last: None };
                stream::unfold(watcher, FileWatcher::next).boxed()
            }
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}

struct FileWatcher {
    store: Arc<Store>,
    news: watch::Receiver<News>,
    name: String,
    /// What was last yielded, and the revision it is from.
    last: Option<(u64, Vec<Service>)>,
}

impl FileWatcher {
    /// Waits for a set that differs from the last one, or an error. Ends when the feed's thread does.
    async fn next(mut self) -> Option<(Result<Vec<Service>, Error>, Self)> {
        loop {
            let news = match &self.last {
                // The first set is as new as this call, the feed's may be older.
                None => look(self.store.clone()).await,
                Some(_) => {
                    self.news.changed().await.ok()?;
                    match self.news.borrow_and_update().as_ref() {
                        None => continue,
                        Some(Ok(table)) => Ok(table.clone()),
                        Some(Err(trouble)) => Err(trouble.into()),
                    }
                }
            };
            let table = match news {
                Ok(table) => table,
                Err(error) => return Some((Err(error), self)),
            };
            let set = table.services.get(&self.name).cloned().unwrap_or_default();
            if self.last.as_ref().is_none_or(|(seen, last)| *seen < table.revision && *last != set) {
                self.last = Some((table.revision, set.clone()));
                return Some((Ok(set), self));
            }
        }
    }
}

async fn look(store: Arc<Store>) -> Result<Table, Error> {
    let asked = Instant::now();
    blocking(move || store.look_since(asked)).await
}

/// Runs `work` where it may block.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, Error> + Send + 'static,
) -> Result<R, Error> {
    spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::Unavailable { backend: BACKEND, what: "finish".to_owned(), source: error.into() })
    })
}
