//! The services that requests may reach: those of a registry, and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;
use micro_balance::retry::RetryLayer;
use micro_discover::{Error, Registry};
use micro_tower::transport::Connector;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::fault::Fault;
use super::upstream::{Reach, Upstream};
use crate::causes::chain;
use crate::traffic::Recorder;

/// How long the registry may take to say whether it knows a name.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// For how long a name that nobody has is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_millis(500);
/// How many such names are remembered.
const UNKNOWN_NAMES: usize = 4096;
/// How many names are asked for at a time; more are answered that the registry is busy.
const QUESTIONS: usize = 64;
/// How long a service that has lost its last endpoint is still one that may come back at any moment.
const GONE_AFTER: Duration = Duration::from_secs(60);

/// The services of a registry, each watched once it was asked for. Clones share everything.
#[derive(Clone)]
pub struct Directory {
    inner: Arc<Inner>,
    _sweep: Arc<AbortOnDropHandle<()>>,
}

/// In order: a few comparisons take less than a hash that strangers cannot foresee.
type Known = BTreeMap<Arc<str>, Arc<Upstream>>;

struct Inner {
    registry: Arc<dyn Registry>,
    reach: Reach,
    known: ArcSwap<Known>,
    unknown: Mutex<HashMap<String, Instant>>,
    questions: Semaphore,
}

/// Why there is no upstream of a name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unreachable {
    /// Nobody is registered by that name.
    #[error("service {0} is not registered")]
    Unknown(String),
    /// The registry cannot say.
    #[error("the registry cannot say whether there is a service {name}")]
    Unavailable {
        /// The name that was asked for.
        name: String,
        /// Why it cannot.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Unreachable {
    /// What the face `id` answers over HTTP, with why the registry cannot say.
    pub(crate) fn fault(&self, id: &str) -> Fault {
        let status = match self {
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        Fault::new(id, status, chain(self))
    }
}

/// Sets up a [`Directory`].
#[must_use = "a directory does nothing until it is built"]
#[derive(Clone, Debug)]
pub struct DirectoryBuilder {
    registry: Arc<dyn Registry>,
    reach: Reach,
}

impl DirectoryBuilder {
    /// Connects to endpoints by `connector`, for other timeouts or TLS.
    pub fn connector(mut self, connector: Connector) -> Self {
        self.reach.connector = connector;
        self
    }

    /// Sends again by `retry`.
    pub fn retry(mut self, retry: RetryLayer) -> Self {
        self.reach.retry = retry;
        self
    }

    /// For how long requests wait for an endpoint while none is ready; 2 s unless set.
    pub fn failfast(mut self, limit: Duration) -> Self {
        self.reach.failfast = limit;
        self
    }

    /// Tells `recorder` of every request.
    pub fn recorder(mut self, recorder: Recorder) -> Self {
        self.reach.recorder = recorder;
        self
    }

    /// Starts with an empty table.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, as [`tokio::spawn`] does.
    pub fn build(self) -> Directory {
        let inner = Arc::new(Inner {
            registry: self.registry,
            reach: self.reach,
            known: ArcSwap::default(),
            unknown: Mutex::default(),
            questions: Semaphore::new(QUESTIONS),
        });
        let sweep = AbortOnDropHandle::new(tokio::spawn(sweep(Arc::downgrade(&inner))));
        Directory { inner, _sweep: Arc::new(sweep) }
    }
}

impl Directory {
    /// The services of `registry`.
    pub fn builder(registry: Arc<dyn Registry>) -> DirectoryBuilder {
        DirectoryBuilder { registry, reach: Reach::default() }
    }

    /// The registry.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.inner.registry
    }

    /// What connects to its endpoints.
    pub fn connector(&self) -> &Connector {
        &self.inner.reach.connector
    }

    /// The service `name`, if it was looked up before and is still there: takes no lock and waits for nobody.
    pub fn find(&self, name: &str) -> Option<Arc<Upstream>> {
        let known = self.inner.known.load();
        known.get(name).filter(|upstream| is_there(upstream)).cloned()
    }

    /// The first of `names` that was looked up before.
    pub fn first_known(&self, names: &[String]) -> Option<Arc<Upstream>> {
        names.iter().find_map(|name| self.find(name))
    }

    /// The first of `names` that is registered.
    ///
    /// # Errors
    ///
    /// [`Unreachable`].
    pub async fn first(&self, names: &[String]) -> Result<Arc<Upstream>, Unreachable> {
        let mut failed = None;
        for name in names {
            match self.look_up(name).await {
                Ok(upstream) => return Ok(upstream),
                // That a registry cannot say is worth more than that it knows none of the others.
                Err(why @ Unreachable::Unavailable { .. }) => failed = Some(why),
                Err(Unreachable::Unknown(_)) => {}
            }
        }
        // In its namespace and without: whoever asked may have never heard of one.
        let likeliest = || names.get(..2).unwrap_or(names).join(" or ");
        Err(failed.unwrap_or_else(|| Unreachable::Unknown(likeliest())))
    }

    /// The services that were looked up and are still there.
    pub fn known(&self) -> Vec<Arc<Upstream>> {
        let known = self.inner.known.load();
        known.values().filter(|upstream| is_there(upstream)).cloned().collect()
    }

    /// Whether the registry said just now that nobody has this name.
    pub fn is_unknown(&self, name: &str) -> bool {
        let unknown = self.inner.unknown();
        unknown.get(name).is_some_and(|since| since.elapsed() < UNKNOWN_FOR)
    }

    /// The service `name`, of which the registry is asked if it is not known yet.
    ///
    /// # Errors
    ///
    /// [`Unreachable`].
    pub async fn look_up(&self, name: &str) -> Result<Arc<Upstream>, Unreachable> {
        if let Some(upstream) = self.find(name) {
            return Ok(upstream);
        }
        let unknown = || Unreachable::Unknown(name.to_owned());
        if self.is_unknown(name) {
            return Err(unknown());
        }
        let unavailable = |source| Unreachable::Unavailable { name: name.to_owned(), source };
        let records = {
            let busy = |_| unavailable("too many names are being looked up".into());
            let _permit = self.inner.questions.try_acquire().map_err(busy)?;
            match timeout(ANSWER_WITHIN, self.inner.registry.get(name)).await {
                Ok(Ok(records)) => records,
                Ok(Err(Error::Invalid { .. })) => return Err(unknown()),
                Ok(Err(error)) => return Err(unavailable(error.into())),
                Err(_) => return Err(unavailable(format!("no answer within {ANSWER_WITHIN:?}").into())),
            }
        };
        if records.iter().all(|record| record.endpoints.is_empty()) {
            self.inner.note_unknown(name);
            return Err(unknown());
        }
        let made = || {
            let Inner { registry, reach, .. } = &*self.inner;
            Upstream::new(name, records.clone(), registry.clone(), reach.clone())
        };
        Ok(self.inner.insert(name, made))
    }
}

impl Inner {
    fn unknown(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_unknown(&self, name: &str) {
        let mut unknown = self.unknown();
        if unknown.len() >= UNKNOWN_NAMES {
            unknown.retain(|_, since| since.elapsed() < UNKNOWN_FOR);
        }
        if unknown.len() < UNKNOWN_NAMES {
            unknown.insert(name.to_owned(), Instant::now());
        }
    }

    /// The upstream of `name` that is there, or else the one that `make` makes.
    fn insert(&self, name: &str, make: impl FnOnce() -> Upstream) -> Arc<Upstream> {
        // Held by those who change the table, so that one upstream is made of a name.
        let mut unknown = self.unknown();
        unknown.remove(name);
        let known = self.known.load_full();
        if let Some(upstream) = known.get(name).filter(|upstream| is_there(upstream)) {
            return upstream.clone();
        }
        let upstream = Arc::new(make());
        let mut next = Known::clone(&known);
        next.insert(upstream.name().clone(), upstream.clone());
        self.known.store(Arc::new(next));
        upstream
    }

    fn sweep(&self) {
        let _changing = self.unknown();
        let known = self.known.load_full();
        if known.values().any(|upstream| !is_there(upstream)) {
            let left = known.iter().filter(|(_, upstream)| is_there(upstream));
            self.known
                .store(Arc::new(left.map(|(name, upstream)| (name.clone(), upstream.clone())).collect()));
        }
    }
}

/// A service between two deployments is one that has nobody ready, not one that does not exist.
fn is_there(upstream: &Upstream) -> bool {
    upstream.empty_for().is_none_or(|empty| empty < GONE_AFTER)
}

/// Forgets services that are gone, for as long as there is a directory.
async fn sweep(inner: std::sync::Weak<Inner>) {
    loop {
        sleep(GONE_AFTER / 2).await;
        let Some(inner) = inner.upgrade() else { return };
        inner.sweep();
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("registry", &self.inner.registry).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use micro_discover::{Endpoint, Memory, Service};

    use super::*;

    fn greeter() -> Service {
        Service::new("greeter").endpoint(Endpoint::new("a", "127.0.0.1:1".parse().unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_registered_is_found_and_soon_after_it_is() {
        let registry = Memory::new();
        let directory = Directory::builder(Arc::new(registry.clone())).build();
        assert!(matches!(directory.look_up("greeter").await, Err(Unreachable::Unknown(_))));
        registry.announce(&greeter(), Duration::ZERO).await.unwrap();
        assert!(directory.is_unknown("greeter"), "the registry is not asked again at once");
        tokio::time::advance(UNKNOWN_FOR).await;
        let upstream = directory.look_up("greeter").await.unwrap();
        assert!(Arc::ptr_eq(&upstream, &directory.find("greeter").unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_without_endpoints_is_there_for_a_minute() {
        let registry = Memory::new();
        let directory = Directory::builder(Arc::new(registry.clone())).build();
        registry.announce(&greeter(), Duration::ZERO).await.unwrap();
        let upstream = directory.look_up("greeter").await.unwrap();
        registry.withdraw(&greeter()).await.unwrap();
        while upstream.empty_for().is_none() {
            tokio::task::yield_now().await;
        }
        assert!(directory.find("greeter").is_some());
        tokio::time::advance(GONE_AFTER).await;
        assert!(directory.find("greeter").is_none());
        assert!(matches!(directory.look_up("greeter").await, Err(Unreachable::Unknown(_))));
    }
}
