//! What a service can be told before it runs.

use std::{fmt, future::Future, net::SocketAddr, sync::Arc};

use http::HeaderName;
use micro_discover::{Endpoint, Method, Registry, Service as Record};
use tower::BoxError;

use super::{Clients, Service};
use crate::{
    client,
    metadata::{NotCarried, ServerMetadataLayer},
    server::{Hooks, ServeError, Server},
};

/// The registry that is opened unless one is given, or this variable names another.
const REGISTRY: &str = "MICRO_REGISTRY";

/// What all clients of a service are told.
pub(super) type Defaults = Arc<dyn Fn(client::Builder) -> client::Builder + Send + Sync>;

/// Sets up a [`Service`].
#[must_use = "a service does nothing until it is built and run"]
pub struct Builder {
    record: Record,
    id: Option<String>,
    registry: Option<Arc<dyn Registry>>,
    server: Server,
    describe: Box<dyn FnOnce(Endpoint) -> Endpoint + Send + Sync>,
    metadata: ServerMetadataLayer,
    defaults: Defaults,
    before_start: Hooks,
    after_stop: Hooks,
}

impl Builder {
    pub(super) fn new(name: String) -> Self {
        Self {
            record: Record::new(name),
            id: None,
            registry: None,
            server: Server::new(),
            describe: Box::new(|endpoint| endpoint),
            metadata: ServerMetadataLayer::new(),
            defaults: Arc::new(|client| client),
            before_start: Hooks::new("before start"),
            after_stop: Hooks::new("after stop"),
        }
    }

    /// Its version; `latest` unless given.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.record = self.record.version(version);
        self
    }

    /// A label of the service.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.record = self.record.metadata(key, value);
        self
    }

    /// A method that the service announces.
    pub fn method(mut self, method: Method) -> Self {
        self.record = self.record.method(method);
        self
    }

    /// The id of this process among all that run the service; random unless given.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Where the service finds others and is announced. Unless given, the registry that `MICRO_REGISTRY`
    /// names, or else the one in this user's directory, `file:`.
    pub fn registry(mut self, registry: Arc<dyn Registry>) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Listens on `address`; on a free port of the loopback interface unless given.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.server = self.server.address(address);
        self
    }

    /// Speaks go-micro's RPC too, see [`Server::wire`].
    pub fn wire(mut self) -> Self {
        self.server = self.server.wire(true);
        self
    }

    /// Listens at `url` instead, over whatever it says: TCP, a unix socket, memory, NATS or RabbitMQ, as
    /// [`Server::listen`] describes. Clients need not be told.
    pub fn listen(mut self, url: &str) -> Self {
        self.server = self.server.listen(url);
        self
    }

    /// Changes the announced endpoint: its weight, its zone, or the address where clients reach this machine.
    pub fn endpoint(mut self, describe: impl FnOnce(Endpoint) -> Endpoint + Send + Sync + 'static) -> Self {
        self.describe = Box::new(describe);
        self
    }

    /// Changes any other setting of the server.
    pub fn server(mut self, set: impl FnOnce(Server) -> Server) -> Self {
        self.server = set(self.server);
        self
    }

    /// Changes the settings of every client of this service.
    pub fn clients<F>(mut self, set: F) -> Self
    where
        F: Fn(client::Builder) -> client::Builder + Send + Sync + 'static,
    {
        self.defaults = Arc::new(set);
        self
    }

    /// Which headers of a request travel on with the calls made for it, beside its id.
    ///
    /// # Errors
    ///
    /// [`NotCarried`].
    pub fn carry(mut self, headers: impl IntoIterator<Item = HeaderName>) -> Result<Self, NotCarried> {
        self.metadata = ServerMetadataLayer::carrying(headers)?;
        Ok(self)
    }

    /// Does something before the service listens; where that fails it does not start.
    pub fn before_start<F, R>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.before_start.add(hook);
        self
    }

    /// Does something once the service listens and is announced; where that fails it stops.
    pub fn after_start<F, R>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.server = self.server.after_start(hook);
        self
    }

    /// Does something when the service is told to stop, while it still serves.
    pub fn before_stop<F, R>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.server = self.server.before_stop(hook);
        self
    }

    /// Does something when the service has stopped.
    pub fn after_stop<F, R>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.after_stop.add(hook);
        self
    }

    /// Opens the registry.
    ///
    /// # Errors
    ///
    /// [`ServeError::Announce`] where it cannot be opened.
    pub fn build(self) -> Result<Service, ServeError> {
        let registry = match self.registry {
            Some(registry) => registry,
            None => micro_discover::open(std::env::var(REGISTRY).as_deref().unwrap_or("file:"))?,
        };
        let id = self.id.unwrap_or_else(|| format!("{}-{:016x}", self.record.name, fastrand::u64(..)));
        let describe = self.describe;
        let endpoint = {
            let id = id.clone();
            move |mut endpoint: Endpoint| {
                endpoint.id = id;
                describe(endpoint)
            }
        };
        let server = self.server.announce(registry.clone(), self.record.clone()).endpoint(endpoint);
        let clients = Clients { registry: registry.clone(), defaults: self.defaults, known: Arc::default() };
        Ok(Service {
            record: self.record,
            id,
            registry,
            server,
            metadata: self.metadata,
            clients,
            before_start: self.before_start,
            after_stop: self.after_stop,
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("record", &self.record)
            .field("registry", &self.registry)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
