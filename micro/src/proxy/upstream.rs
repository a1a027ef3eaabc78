//! One registered service, and the clients that reach it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use micro_balance::retry::RetryLayer;
use micro_discover::{Endpoint, Endpoints, Registry, Service, Watch};
use micro_tower::Client;
use micro_tower::transport::{Connector, HttpVersion};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_stream::wrappers::WatchStream;
use tokio_util::task::AbortOnDropHandle;

use super::meter::Meter;
use crate::traffic::Recorder;

/// For how long a service keeps its endpoints while the registry says that it has none: as a client of its own would.
const KEEP_WHEN_EMPTY: Duration = Duration::from_secs(30);

/// What a service is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// HTTP/1.1, which every web server speaks.
    Http1,
    /// HTTP/2, which gRPC needs.
    Http2,
}

/// How upstreams are reached.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) connector: Connector,
    pub(super) retry: RetryLayer,
    pub(super) failfast: Duration,
    pub(super) recorder: Recorder,
}

/// `connector` with as many connections to one endpoint as a face for many clients needs.
pub(crate) fn for_many(connector: Connector) -> Connector {
    connector.http1_connections(1024, 256).http2_requests(1024)
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            connector: for_many(Connector::new()),
            retry: RetryLayer::new(),
            failfast: Duration::from_secs(2),
            recorder: Recorder::new("micro"),
        }
    }
}

/// One registered service: its records as they are now, and clients that balance over its endpoints.
pub struct Upstream {
    name: Arc<str>,
    reach: Reach,
    current: Arc<Current>,
    sets: watch::Receiver<Vec<Service>>,
    http1: OnceLock<Client>,
    http2: OnceLock<Client>,
    meter: Meter,
    described: AtomicBool,
    _task: AbortOnDropHandle<()>,
}

/// What the registry says.
struct Current {
    facts: ArcSwap<Facts>,
    began: Instant,
    /// Since when it has said that there is no endpoint, in nanoseconds since the beginning and one more; 0 while there is
    /// one. Each request asks.
    empty_since: AtomicU64,
}

impl Upstream {
    /// Watches the service `name`, of which `records` are known already.
    pub(super) fn new(name: &str, records: Vec<Service>, registry: Arc<dyn Registry>, reach: Reach) -> Self {
        let current = Arc::new(Current::new());
        current.set(&records);
        let (send, sets) = watch::channel(records);
        let following = tokio::spawn(follow(Watch::new(registry, name), current.clone(), send));
        let _task = AbortOnDropHandle::new(following);
        let meter = Meter::new(name, reach.recorder.clone());
        let (http1, http2) = (OnceLock::new(), OnceLock::new());
        let described = AtomicBool::new(false);
        Self { name: name.into(), reach, current, sets, http1, http2, meter, described, _task }
    }

    /// What the service is called.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What the registry says of it now.
    pub fn facts(&self) -> Arc<Facts> {
        self.current.facts.load_full()
    }

    /// For how long the registry has said that there is no endpoint, if it does.
    pub fn empty_for(&self) -> Option<Duration> {
        self.current.empty_for()
    }

    /// What plain HTTP requests reach it by: what its label `protocol` says, or else HTTP/1.
    pub fn wire(&self) -> Wire {
        self.current.facts.load().wire
    }

    /// Whether it is a web server and nothing else: no request to it is a call.
    pub fn is_plain(&self) -> bool {
        self.current.facts.load().plain && !self.is_described()
    }

    /// Notes whether it describes its methods by reflection, and so has some.
    pub fn described(&self, is: bool) {
        self.described.store(is, Relaxed);
    }

    /// Whether it describes its methods by reflection, as far as that is known.
    pub fn is_described(&self) -> bool {
        self.described.load(Relaxed)
    }

    /// The client that speaks `wire`, which connects when it is first asked for.
    pub fn client(&self, wire: Wire) -> &Client {
        let (client, version) = match wire {
            Wire::Http1 => (&self.http1, HttpVersion::Http1),
            Wire::Http2 => (&self.http2, HttpVersion::Http2),
        };
        client.get_or_init(|| self.build(version))
    }

    /// A client to ask it what it can be asked: one that ends with the question, unless it is known to speak HTTP/2.
    ///
    /// One that lasts would knock at a web server, which does not, for as long as the service is there.
    pub fn asking(&self) -> Client {
        match self.http2.get() {
            None if self.wire() == Wire::Http1 => self.build(HttpVersion::Http2),
            _ => self.client(Wire::Http2).clone(),
        }
    }

    /// Goes on with a client that was made for [`asking`](Self::asking), now that there was an answer.
    pub fn keep(&self, client: Client) {
        // Another may have been kept first.
        let _ = self.http2.set(client);
    }

    fn build(&self, version: HttpVersion) -> Client {
        let endpoints = Endpoints::new(WatchStream::new(self.sets.clone())).keep_when_empty(KEEP_WHEN_EMPTY);
        Client::builder_over(self.name.clone(), endpoints)
            .connector(self.reach.connector.clone().http_version(version))
            .retry(self.reach.retry.clone())
            .failfast(self.reach.failfast)
            .build()
    }

    /// What is counted of the requests to it.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }
}

/// What is known of a service, worked out once.
#[derive(Clone, Debug)]
pub struct Facts {
    /// A record per version.
    pub records: Vec<Service>,
    /// What its label `protocol` says.
    pub protocol: Option<String>,
    /// What its label `handler` says.
    pub handler: Option<String>,
    wire: Wire,
    plain: bool,
}

impl Default for Facts {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Facts {
    fn new(records: Vec<Service>) -> Self {
        let (protocol, handler) = (label(&records, "protocol"), label(&records, "handler"));
        let wire = match protocol.as_deref() {
            Some("h2" | "h2c" | "http2" | "grpc") => Wire::Http2,
            _ => Wire::Http1,
        };
        let called = records.iter().any(|record| !record.methods.is_empty());
        let plain =
            !called && handler.is_none() && !matches!(protocol.as_deref(), Some("grpc" | "mucp" | "rpc"));
        Self { records, protocol, handler, wire, plain }
    }

    /// Whether it speaks go-micro's RPC, which has no reflection.
    pub fn is_go_micro(&self) -> bool {
        matches!(self.protocol.as_deref(), Some("mucp" | "rpc"))
    }

    /// The endpoints of all versions.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.records.iter().flat_map(|record| &record.endpoints)
    }
}

/// The first value of the label `key`, of an endpoint or else of a version.
fn label(records: &[Service], key: &str) -> Option<String> {
    let endpoints = records.iter().flat_map(|record| &record.endpoints);
    let found = endpoints.map(|endpoint| &endpoint.metadata).find_map(|labels| labels.get(key));
    found.or_else(|| records.iter().find_map(|record| record.metadata.get(key))).cloned()
}

impl Current {
    fn new() -> Self {
        Self { facts: ArcSwap::default(), began: Instant::now(), empty_since: AtomicU64::new(0) }
    }

    fn empty_for(&self) -> Option<Duration> {
        match self.empty_since.load(Relaxed) {
            0 => None,
            since => Some(self.began.elapsed().saturating_sub(Duration::from_nanos(since - 1))),
        }
    }

    fn set(&self, records: &[Service]) {
        let empty = records.iter().all(|record| record.endpoints.is_empty());
        // Endpoints that are kept are spoken to as before.
        if !empty {
            self.facts.store(Arc::new(Facts::new(records.to_vec())));
        }
        let since = match (empty, self.empty_since.load(Relaxed)) {
            (false, _) => 0,
            (true, 0) => u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1),
            (true, since) => since,
        };
        self.empty_since.store(since, Relaxed);
    }
}

async fn follow(mut watch: Watch, current: Arc<Current>, sets: watch::Sender<Vec<Service>>) {
    while let Some(records) = watch.next().await {
        current.set(&records);
        sets.send_replace(records);
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("name", &self.name).finish_non_exhaustive()
    }
}
