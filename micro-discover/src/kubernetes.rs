//! Endpoints of a Kubernetes Service, from its EndpointSlices.

mod annotations;
mod api;
mod clients;
mod failure;
mod hold;
mod hub;
mod json;
mod lines;
mod member;
mod mirror;
mod page;
mod pool;
mod publish;
mod retry;
mod rules;
mod said;
mod select;
mod slice;
mod targets;
#[cfg(test)]
mod tests;
mod url;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;

use self::api::{Api, Collection};
use self::clients::Source;
use self::failure::Failure;
use self::hold::Hold;
use self::hub::Hub;
use self::mirror::Mirror;
use self::pool::Pool;
use self::publish::Publishing;
use self::retry::Retry;
use self::select::Wanted;
use self::slice::{SERVICE_NAME, Slice};
use crate::endless::YEAR;
use crate::record::{Service, check_service_name};
use crate::registry::{Error, Registry};

pub use self::annotations::PodAnnotations;
pub use self::failure::Forbidden;
pub use self::mirror::Initial;
pub use self::select::{Family, Port};

/// The Services of a namespace, as a registry to read.
///
/// A service's name is a Kubernetes Service's; its endpoints are the ready pods behind it, or any other address a
/// controller keeps in its EndpointSlices. Pods are not announced: readiness probes do that.
///
/// ```
/// use micro_discover::{Endpoints, Watch, open};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = open("kubernetes://shop?port=grpc")?;
/// let endpoints = Endpoints::new(Watch::new(registry, "greeter")); // any balancer takes these
/// # Ok(())
/// # }
/// ```
///
/// Whoever watches a name shares one watch of the API server, which ends with the last of them. Nothing is said
/// before all slices are known: then an empty set means that nobody is ready. The last good set stands through
/// any outage; [`Status`](crate::Status) tells of it. Needs the verbs `list` and `watch` on `endpointslices` in the
/// API group `discovery.k8s.io` of the namespace, else watches fail with [`Forbidden`], and recover by themselves.
///
/// Of an endpoint's metadata, `node`, `hostname`, `pod` and `app-protocol` are as the slice says; `terminating` is
/// `true` when no endpoint is ready and those shutting down stand in.
#[derive(Clone, Debug)]
#[must_use]
pub struct Kubernetes {
    api: Arc<Api>,
    hub: Hub,
    namespace: Option<String>,
    service: Option<String>,
    wanted: Wanted,
    settings: Settings,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    initial: Initial,
    lasting: Duration,
    hold: Duration,
    hold_last: Duration,
    retry: (Duration, Duration),
}

const BACKEND: &str = "kubernetes";

impl Default for Settings {
    fn default() -> Self {
        Self {
            initial: Initial::default(),
            lasting: Duration::from_secs(60),
            hold: Duration::from_millis(250),
            hold_last: Duration::from_secs(2),
            retry: (Duration::from_millis(800), Duration::from_secs(30)),
        }
    }
}

impl Kubernetes {
    /// The cluster that `KUBECONFIG` or `~/.kube/config` names, else the one this process runs in. They are read when
    /// first needed, and again when the API server refuses the token.
    pub fn infer() -> Self {
        Self::from(Source::Infer)
    }

    /// The cluster that `config` names. A token file is read again when the API server refuses the token.
    pub fn from_config(config: kube::Config) -> Self {
        Self::from(Source::Config(Box::new(config)))
    }

    /// The cluster that `client` speaks to.
    pub fn from_client(client: kube::Client) -> Self {
        Self::from(Source::Client(client))
    }

    fn from(source: Source) -> Self {
        Self {
            api: Arc::new(Api::new(source)),
            hub: Hub::default(),
            namespace: None,
            service: None,
            wanted: Wanted::default(),
            settings: Settings::default(),
        }
    }

    /// Sets the namespace; the client's own when nothing is said.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self.apart()
    }

    /// Answers every name with the Service `name`.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = Some(name.into());
        self.apart()
    }

    /// Sets which port of the endpoints to use.
    pub fn port(mut self, port: Port) -> Self {
        self.wanted.port = port;
        self.apart()
    }

    /// Sets the port of endpoints whose slice has none, as those of a headless Service without ports.
    pub fn fallback_port(mut self, port: u16) -> Self {
        self.wanted.fallback_port = Some(port).filter(|port| *port != 0);
        self.apart()
    }

    /// Sets which of IPv4 and IPv6 to use.
    pub fn family(mut self, family: Family) -> Self {
        self.wanted.family = family;
        self.apart()
    }

    /// Sets the node this client runs on: node hints are followed.
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.wanted.node = Some(name.into());
        self.apart()
    }

    /// Sets the zone this client runs in: zone hints are followed. A pod does not know its zone by itself.
    pub fn zone(mut self, name: impl Into<String>) -> Self {
        self.wanted.zone = Some(name.into());
        self.apart()
    }

    /// Uses only endpoints on this [`node`](Self::node), and none when there are none.
    pub fn local(mut self, local: bool) -> Self {
        self.wanted.local = local;
        self.apart()
    }

    /// Sets how the whole state is learnt at the start and after a loss.
    pub fn initial(mut self, initial: Initial) -> Self {
        self.settings.initial = initial;
        self.apart()
    }

    /// Sets how long an endpoint stays that has vanished from all slices without having been seen unready: 250 ms
    /// when nothing is said; and `last` when no other would be left: 2 s. Zero removes at once; a year is the most.
    pub fn hold(mut self, missing: Duration, last: Duration) -> Self {
        self.settings.hold = missing.min(YEAR);
        self.settings.hold_last = last.min(YEAR);
        self.apart()
    }

    /// Sets how long one watch lasts, from 1 s to a year: 60 s when nothing is said. A dead connection is noticed within
    /// 1.5 times that.
    pub fn watch_timeout(mut self, lasting: Duration) -> Self {
        self.settings.lasting = lasting.clamp(Duration::from_secs(1), YEAR);
        self.apart()
    }

    /// Sets the waits after failures: they double from `min` to `max`, 0.8 s to 30 s when nothing is said. What the
    /// server asks for counts when it is more.
    pub fn retry(mut self, min: Duration, max: Duration) -> Self {
        self.settings.retry = (min.max(Duration::from_millis(1)), max.max(min));
        self.apart()
    }

    /// Clones share their watches, those with other settings do not.
    fn apart(mut self) -> Self {
        self.hub = Hub::default();
        self
    }

    /// Reads `namespace/service?port=grpc&zone=eu`: every part may be left out.
    pub(crate) fn parse(rest: &str) -> Result<Self, Error> {
        url::parse(rest).map_err(|what| Error::Invalid { backend: BACKEND, what })
    }

    fn collection(&self, selector: String) -> Collection {
        let namespace = self.namespace.clone();
        Collection { group: "/apis/discovery.k8s.io/v1", namespace, resource: "endpointslices", selector }
    }

    fn retrying(&self) -> Retry {
        let (min, max) = self.settings.retry;
        Retry::new(min, max, fastrand::Rng::new())
    }

    /// The Service that `name` means here.
    fn service_name(&self, name: &str) -> Result<String, Error> {
        let service = self.service.as_deref().unwrap_or(name);
        check_service_name(name)
            .and_then(|()| url::check_dns(service))
            .map_err(|what| Error::Invalid { backend: BACKEND, what })?;
        Ok(service.to_owned())
    }

    fn error(&self, what: &str, failure: &Failure) -> Error {
        let place = self.namespace.as_deref().map(|name| format!(" in namespace {name}")).unwrap_or_default();
        Error::Unavailable { backend: BACKEND, what: format!("{what}{place}"), source: failure.source() }
    }

    fn sets(&self, name: &str, service: String) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        let selector = format!("{SERVICE_NAME}={service}");
        let (api, what) = (self.api.clone(), self.collection(selector));
        let Settings { initial, lasting, hold, hold_last, .. } = self.settings;
        let mirror = Mirror::<Slice>::new(api, what, initial, lasting, self.retrying());
        let wanted = self.wanted.clone();
        let record = Service::new(name);
        let this = self.clone();
        let told = self.hub.watch(name, move |board| async move {
            let (sender, news) = mpsc::channel(1);
            let publishing =
                Publishing::new(service, Pool::new(wanted), Hold::new(hold, hold_last), record, board);
            tokio::join!(mirror.run(sender), publishing.run(news));
        });
        told.map(move |told| told.map_err(|failure| this.error("watch endpointslices", &failure))).boxed()
    }
}

impl Registry for Kubernetes {
    fn announce(&self, _: &Service, _: Duration) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Err(Error::Unsupported { backend: BACKEND, what: "be announced to" }) })
    }

    fn withdraw(&self, _: &Service) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Err(Error::Unsupported { backend: BACKEND, what: "be withdrawn from" }) })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        Box::pin(async {
            let what = self.collection(
                self.service
                    .as_ref()
                    .map_or_else(|| SERVICE_NAME.to_owned(), |service| format!("{SERVICE_NAME}={service}")),
            );
            let listed = self.api.list::<Slice>(&what).await;
            let (slices, _) = listed.map_err(|failure| self.error("list endpointslices", &failure))?;
            let mut pools: BTreeMap<String, Pool> = BTreeMap::new();
            for slice in slices {
                if let Some(name) = slice.metadata.labels.get(SERVICE_NAME).cloned() {
                    let new = || Pool::new(self.wanted.clone());
                    pools.entry(name).or_insert_with(new).put(slice);
                }
            }
            let records = pools.into_iter().filter_map(|(name, mut pool)| {
                pool.settle();
                let mut record = Service::new(name);
                record.endpoints = pool.used().1.map(|(at, member)| member.endpoint(at)).collect();
                (!record.endpoints.is_empty()).then_some(record)
            });
            Ok(records.collect())
        })
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let mut sets = self.watch(name);
        Box::pin(async move {
            sets.next().await.unwrap_or_else(|| {
                let ended = Failure::new(failure::Kind::Other, "the watch ended");
                Err(self.error("watch endpointslices", &ended))
            })
        })
    }

    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        match self.service_name(name) {
            Ok(service) => self.sets(name, service),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}

/// Reads the lines of a watch, a page of a list in pieces of `size` bytes, which is the same as whole, and the endpoints of a
/// slice.
#[cfg(any(test, fuzzing))]
pub(crate) fn probe(size: usize, json: &[u8]) {
    for line in json.split(|byte| *byte == b'\n') {
        let _ = json::Read::whole(line).map(|_: slice::Event<Slice>| ());
    }
    let whole = page::in_pieces::<Slice>(json, json.len().max(1)).ok();
    assert_eq!(page::in_pieces(json, size).ok(), whole);
    let mut pool = Pool::new(Wanted::default());
    pool.replace(whole.into_iter().flat_map(|page| page.items));
    pool.settle();
    assert_eq!(pool.used().1.count(), pool.used().0);
    targets::probe(&String::from_utf8_lossy(json));
}
