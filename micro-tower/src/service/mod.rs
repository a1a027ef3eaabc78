//! A service as a whole: who it is, what it calls, what it serves, and what is done around that.

mod builder;

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use micro_discover::{Registry, Service as Record};
use tonic::body::Body;
use tower::{BoxError, ServiceBuilder};

pub use self::builder::Builder;
use self::builder::Defaults;
use crate::{
    client::Client,
    deadline::{ServerDeadline, ServerDeadlineLayer},
    metadata::{ServerMetadata, ServerMetadataLayer},
    server::{Hooks, ServeError, Server},
};

/// A service: it has a name, serves requests, and calls other services by theirs.
///
/// ```no_run
/// use micro_tower::Service;
///
/// # async fn run(routes: tonic::service::Routes) -> Result<(), micro_tower::server::ServeError> {
/// let service = Service::builder("greeter").version("1.0.0").build()?;
/// let others = service.client("accounts"); // AccountsClient::new(others), or others.send(request)
/// service.run(routes).await
/// # }
/// ```
pub struct Service {
    record: Record,
    id: String,
    registry: Arc<dyn Registry>,
    server: Server,
    metadata: ServerMetadataLayer,
    clients: Clients,
    before_start: Hooks,
    after_stop: Hooks,
}

/// The clients of a service, one for each name.
#[derive(Clone)]
struct Clients {
    registry: Arc<dyn Registry>,
    defaults: Defaults,
    known: Arc<Mutex<HashMap<String, Client>>>,
}

/// What serves a [`Service`]'s requests: the given service under the caller's deadline and metadata.
type Layered<S> = ServerMetadata<ServerDeadline<S>>;

impl Service {
    /// A service called `name`, in the registry of this machine's user unless another is given.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Its version, `latest` unless given.
    pub fn version(&self) -> &str {
        &self.record.version
    }

    /// What tells this process from others that run the same service: the id of its endpoint.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it is announced as, but for its endpoint.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Where it finds others and is announced.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    /// A client of the service called `name`. Asking twice gives two handles of one client.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, as [`tokio::spawn`] does.
    pub fn client(&self, name: &str) -> Client {
        self.clients.get(name)
    }

    /// Gives clients to handlers, which outlive their borrow of the service.
    pub fn clients(&self) -> impl Fn(&str) -> Client + Clone + Send + Sync + 'static {
        let clients = self.clients.clone();
        move |name| clients.get(name)
    }

    /// Serves `service` until this process is told to stop, as [`Server`] describes, between the hooks. Deadline
    /// and metadata of each request hold for what is called while it is handled.
    ///
    /// # Errors
    ///
    /// [`ServeError`]: where the service cannot listen or be announced, or a hook fails.
    pub async fn run<S, B>(self, service: S) -> Result<(), ServeError>
    where
        S: tower::Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
        S: Clone + Send + 'static,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.before_start.run().await?;
        let served = layered(service, self.metadata);
        let result = self.server.bind().await?.serve(served).await;
        result.and(self.after_stop.run().await)
    }

    /// The same until `stop` ends.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_until<S, B>(
        self,
        service: S,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError>
    where
        S: tower::Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
        S: Clone + Send + 'static,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.before_start.run().await?;
        let served = layered(service, self.metadata);
        let result = self.server.bind().await?.serve_until(served, stop).await;
        result.and(self.after_stop.run().await)
    }
}

fn layered<S>(service: S, metadata: ServerMetadataLayer) -> Layered<S> {
    ServiceBuilder::new().layer(metadata).layer(ServerDeadlineLayer::new()).service(service)
}

impl Clients {
    fn get(&self, name: &str) -> Client {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.get(name) {
            return client.clone();
        }
        let client = (self.defaults)(Client::builder(name, self.registry.clone())).build();
        known.insert(name.to_owned(), client.clone());
        client
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("record", &self.record)
            .field("id", &self.id)
            .field("registry", &self.registry)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
