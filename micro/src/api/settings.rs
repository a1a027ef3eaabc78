//! What a gateway can be told before it starts.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use micro_broker::Broker;
use micro_discover::Registry;

use super::access::AccessLog;
use super::catalog::Catalog;
use super::cors::Cors;
use super::gateway::{Gateway, ID, Parts};
use super::handler::Handler;
use super::observe::Observer;
use super::own::Own;
use super::resolver::Resolver;
use super::route::join;
use super::rules::Rules;
use crate::proxy::{Directory, DirectoryBuilder, Tunnels};
use crate::rpc::Rpc;
use crate::traffic::Recorder;

/// The namespace of go-micro's gateway.
const NAMESPACE: &str = "go.micro.api";
/// How many WebSockets there may be at a time.
const TUNNELS: usize = 10_000;

/// Sets up a [`Gateway`].
#[must_use = "a gateway does nothing until it is built"]
pub struct Builder {
    pub(super) id: &'static str,
    directory: DirectoryBuilder,
    pub(super) namespace: Namespace,
    pub(super) handler: Handler,
    pub(super) resolver: Resolver,
    rules: Rules,
    broker: Option<Arc<dyn Broker>>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) tls: bool,
    pub(super) trust_forwarded: bool,
    pub(super) access_log: Option<AccessLog>,
    pub(super) recorder: Recorder,
    prometheus: Option<PrometheusHandle>,
}

/// Where names of services come from.
#[derive(Clone, Debug)]
pub(super) struct Namespace {
    name: String,
    /// Whether a name may stand for itself.
    bare: bool,
}

impl Namespace {
    /// Whether what the registry calls `name` can be reached at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.bare || name.starts_with(join(&self.name, "a").trim_end_matches('a'))
    }

    /// The names that `service` may have in the registry, the likeliest first.
    pub(super) fn names<'a>(&self, service: &'a str) -> impl Iterator<Item = Cow<'a, str>> + use<'a> {
        let bare = (self.bare && !self.name.is_empty()).then_some(Cow::Borrowed(service));
        std::iter::once(join(&self.name, service)).chain(bare)
    }
}

impl Builder {
    /// A gateway to the services of `registry`.
    pub(super) fn new(registry: Arc<dyn Registry>) -> Self {
        Self {
            id: ID,
            directory: Directory::builder(registry),
            namespace: Namespace { name: NAMESPACE.to_owned(), bare: true },
            handler: Handler::Meta,
            resolver: Resolver::Micro,
            rules: Rules::default(),
            broker: None,
            observer: None,
            recorder: Recorder::new(ID),
            tls: false,
            trust_forwarded: false,
            access_log: None,
            prometheus: None,
        }
    }

    /// Serves only what is called `namespace` and a dot before its name; an empty one is everything. Unless set,
    /// `/greeter/…` is `go.micro.api.greeter` if there is one, or else `greeter`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Namespace { name: namespace.into(), bare: false };
        self
    }

    /// Serves what is called `namespace` and a dot before its name, or else what has that name alone.
    pub fn namespace_first(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Namespace { name: namespace.into(), bare: true };
        self
    }

    /// Sends every request this way; what services announce unless set.
    pub fn handler(mut self, handler: Handler) -> Self {
        self.handler = handler;
        self
    }

    /// Finds the service of a request by this; by its path, as go-micro does, unless set.
    pub fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = resolver;
        self
    }

    /// Pages of other hosts that may send requests and read answers; none unless set.
    pub fn cors(mut self, cors: Cors) -> Self {
        self.rules.cors = cors;
        self
    }

    /// How long a service may take to begin its answer once it has the last of the request; 30 s unless set. gRPC calls say it
    /// themselves.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.rules.timeout = timeout;
        self
    }

    /// What holds for requests at first: pages of other hosts, timeouts and routes.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Publishes events by `broker`, for the handler [`Event`](Handler::Event).
    pub fn broker(mut self, broker: Arc<dyn Broker>) -> Self {
        self.broker = Some(broker);
        self
    }

    /// Says that requests come over TLS, so that services are told.
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// Believes `x-forwarded-proto`, `x-forwarded-host` and `forwarded` of requests, and takes the last address in
    /// `x-forwarded-for` for the client whose share of a service's connections counts: for gateways behind another.
    pub fn trust_forwarded(mut self, trust: bool) -> Self {
        self.trust_forwarded = trust;
        self
    }

    /// Writes a line per request to `log`.
    pub fn access_log(mut self, log: AccessLog) -> Self {
        self.access_log = Some(log);
        self
    }

    /// Tells `observer` of every request.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Says in errors that they come from the face `id`.
    pub(crate) fn id(mut self, id: &'static str) -> Self {
        self.id = id;
        self
    }

    /// Tells `recorder` of every request; one of its own unless set.
    pub fn recorder(mut self, recorder: Recorder) -> Self {
        self.recorder = recorder;
        self
    }

    /// Answers `/metrics` with what `recorder` has; it has to be installed before.
    pub fn prometheus(mut self, recorder: PrometheusHandle) -> Self {
        self.prometheus = Some(recorder);
        self
    }

    /// Changes how services are reached.
    pub fn upstreams(mut self, set: impl FnOnce(DirectoryBuilder) -> DirectoryBuilder) -> Self {
        self.directory = set(self.directory);
        self
    }

    /// Starts to watch.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, as [`tokio::spawn`] does.
    pub fn build(self) -> Gateway {
        // That nobody is ready is known before time runs out.
        let timeout = self.rules.timeout;
        let failfast = (timeout / 2).min(Duration::from_secs(2));
        let directory = self.directory.clone().failfast(failfast).recorder(self.recorder.clone()).build();
        let own = Own::new(self.prometheus.clone());
        let catalog = Catalog::new(directory.clone(), self.namespace.clone());
        let rpc = Rpc::new(directory.clone(), timeout);
        let (rules, broker) = (self.rules.clone(), self.broker.clone());
        let parts = Parts { directory, tunnels: Tunnels::new(TUNNELS), own, catalog, rpc, broker };
        Gateway::new(self, rules, parts)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("namespace", &self.namespace)
            .field("handler", &self.handler)
            .field("resolver", &self.resolver)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
