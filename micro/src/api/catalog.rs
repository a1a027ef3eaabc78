//! What the services of the registry can be asked: their schemas, and the routes that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::announced::Announced;
use super::settings::Namespace;
use crate::proxy::{Directory, Upstream};
use crate::schema::{Error, Schema, Schemas};
use crate::transcode::Routes;

/// How often the registry is asked which services there are.
const EACH: Duration = Duration::from_secs(2);
/// How long a service may take to describe itself.
const WITHIN: Duration = Duration::from_secs(5);
/// When one that does not is asked again.
const AGAIN: Duration = Duration::from_secs(30);
/// How many are asked at a time, and how many services are looked at: the first by name.
const AT_A_TIME: usize = 8;
const MOST: usize = 4096;

/// The schemas of services, fetched before they are needed. Clones share them.
#[derive(Clone)]
pub(super) struct Catalog {
    inner: Arc<Inner>,
}

struct Inner {
    directory: Directory,
    namespace: Namespace,
    schemas: Schemas,
    routes: ArcSwap<Routes<Arc<str>>>,
    announced: ArcSwap<Announced>,
    synced: AtomicBool,
}

/// What is known of a service: its schema, or since when it has none, and of which records.
struct Known {
    schema: Option<Schema>,
    asked: Instant,
    endpoints: usize,
}

impl Catalog {
    pub(super) fn new(directory: Directory, namespace: Namespace) -> Self {
        let inner = Inner {
            directory,
            namespace,
            schemas: Schemas::default(),
            routes: ArcSwap::default(),
            announced: ArcSwap::default(),
            synced: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Starts to keep the routes of all services, until what this gives is dropped.
    pub(super) fn watch(&self) -> AbortOnDropHandle<()> {
        let weak = Arc::downgrade(&self.inner);
        let watching = async move {
            let mut known = BTreeMap::new();
            while let Some(inner) = weak.upgrade() {
                inner.refresh(&mut known).await;
                drop(inner);
                sleep(EACH).await;
            }
        };
        AbortOnDropHandle::new(tokio::spawn(watching))
    }

    /// Whether the registry has ever said which services there are, and they what they can be asked. One that is lost later
    /// takes nothing away: its services are served as they were.
    pub(super) fn is_synced(&self) -> bool {
        self.inner.synced.load(Relaxed)
    }

    /// The routes there are now.
    pub(super) fn routes(&self) -> Guard<Arc<Routes<Arc<str>>>> {
        self.inner.routes.load()
    }

    /// What methods say in their labels of the requests that they want, now.
    pub(super) fn announced(&self) -> Guard<Arc<Announced>> {
        self.inner.announced.load()
    }

    /// What `upstream` can be asked.
    pub(super) async fn schema(&self, upstream: &Upstream) -> Result<Schema, Error> {
        self.inner.schemas.get(upstream.name(), || reflect(upstream)).await
    }

    /// The same, asked anew if it was not just now.
    pub(super) async fn newer_schema(&self, upstream: &Upstream) -> Result<Schema, Error> {
        self.inner.schemas.refresh(upstream.name(), || reflect(upstream)).await
    }
}

async fn reflect(upstream: &Upstream) -> Result<Schema, Error> {
    let client = upstream.asking();
    let schema = Schema::reflect(client.clone(), WITHIN).await;
    if schema.is_ok() {
        upstream.keep(client);
    }
    schema
}

impl Inner {
    /// Asks who has come, and those what they can be asked.
    async fn refresh(&self, known: &mut BTreeMap<Arc<str>, Known>) {
        let Ok(Ok(services)) = tokio::time::timeout(WITHIN, self.directory.registry().list()).await else {
            return;
        };
        let answered = Instant::now();
        let names = services.into_iter().map(|service| service.name).filter(|name| self.namespace.has(name));
        let names: BTreeSet<_> = names.collect();
        let before = known.len();
        known.retain(|name, _| names.contains(&**name));
        let mut changed = known.len() != before;
        let mut asked = stream::iter(names.into_iter().take(MOST))
            .map(|name| self.look(name))
            .buffer_unordered(AT_A_TIME);
        let (mut upstreams, mut there) = (Vec::new(), Vec::new());
        while let Some(upstream) = asked.next().await {
            let Some(upstream) = upstream else { continue };
            there.push(upstream.clone());
            if may_describe_itself(&upstream) && is_due(known.get(upstream.name()), &upstream) {
                upstreams.push(upstream);
            }
        }
        if let Some(changed) = self.announced.load().changed(&there) {
            self.announced.store(Arc::new(changed));
        }
        let mut described = stream::iter(upstreams)
            .map(|upstream| async move {
                let schema = self.schemas.refresh(upstream.name(), || reflect(&upstream)).await.ok();
                (upstream, schema)
            })
            .buffer_unordered(AT_A_TIME);
        while let Some((upstream, schema)) = described.next().await {
            let before = known.remove(upstream.name()).and_then(|known| known.schema);
            changed |= match (&before, &schema) {
                (Some(before), Some(schema)) => !before.is_same(schema),
                (None, schema) => schema.is_some(),
                (Some(_), None) => false,
            };
            // One that cannot say it now can be asked what it could before.
            let schema = schema.or(before);
            upstream.described(schema.is_some());
            let entry = Known { schema, asked: Instant::now(), endpoints: endpoints(&upstream) };
            known.insert(upstream.name().clone(), entry);
            if answered.elapsed() >= WITHIN {
                // Those that hang keep nobody from the others.
                self.synced.store(true, Relaxed);
            }
        }
        if changed {
            let schemas =
                known.iter().filter_map(|(name, known)| Some((name.clone(), known.schema.as_ref()?)));
            self.routes.store(Arc::new(Routes::new(schemas)));
        }
        self.synced.store(true, Relaxed);
    }

    async fn look(&self, name: String) -> Option<Arc<Upstream>> {
        self.directory.look_up(&name).await.ok()
    }
}

/// Others say that they speak something else.
fn may_describe_itself(upstream: &Upstream) -> bool {
    matches!(upstream.facts().protocol.as_deref(), None | Some("grpc" | "h2" | "h2c" | "http2"))
}

/// Whether a service is new, or has other endpoints, or it is time to ask again.
fn is_due(known: Option<&Known>, upstream: &Upstream) -> bool {
    known.is_none_or(|known| known.endpoints != endpoints(upstream) || known.asked.elapsed() >= AGAIN)
}

/// Tells one set of endpoints from another.
fn endpoints(upstream: &Upstream) -> usize {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    for endpoint in upstream.facts().endpoints() {
        (&endpoint.id, &endpoint.address).hash(&mut hasher);
    }
    hasher.finish() as usize
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Catalog")
    }
}

#[cfg(test)]
mod tests {
    use micro_discover::{Endpoint, Memory, Registry as _, Service};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_web_server_is_left_alone_once_it_was_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let registry = Memory::new();
        let shop = Service::new("shop").endpoint(Endpoint::new("a", address));
        registry.announce(&shop, Duration::ZERO).await.unwrap();
        let directory = Directory::builder(Arc::new(registry)).failfast(Duration::from_millis(100)).build();
        let upstream = directory.look_up("shop").await.unwrap();
        let mut asked = std::pin::pin!(reflect(&upstream));
        loop {
            tokio::select! {
                schema = &mut asked => break assert!(schema.is_err(), "it speaks HTTP/1.1"),
                accepted = listener.accept() => {
                    let refusal = b"HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-length: 0\r\n\r\n";
                    accepted.unwrap().0.write_all(refusal).await.unwrap();
                }
            }
        }
        // What connected meanwhile may still wait in line.
        while timeout(Duration::from_millis(200), listener.accept()).await.is_ok() {}
        // A client tries again every two seconds at the latest.
        let again = timeout(Duration::from_secs(3), listener.accept()).await;
        assert!(again.is_err(), "it is connected to again: {again:?}");
    }
}
