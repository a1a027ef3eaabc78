//! What a sidecar can be told before it starts, and what it is afterwards.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use micro_broker::Broker;
use micro_discover::Registry;
use micro_tower::transport::Connector;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::app::App;
use super::held::Held;
use super::state::{ID, Inner};
use super::{calls, events, guard, health, openapi, registry};
use crate::api::{Cors, Gateway, Handler, Observer};
use crate::call::Caller;
use crate::proxy::{Origins, for_many};
use crate::traffic::Recorder;

/// The namespace of go-micro's sidecar: `/greeter/…` is `go.micro.srv.greeter` if there is one, or else `greeter`.
const NAMESPACE: &str = "go.micro.srv";
/// How many sockets and streams there may be at a time.
const OPEN: u32 = 1024;
/// An event that is posted is 8 MiB at most.
const MOST_BYTES: usize = 8 << 20;

/// Sets up a [`Sidecar`].
#[must_use = "a sidecar does nothing until it is built"]
pub struct Builder {
    registry: Arc<dyn Registry>,
    broker: Arc<dyn Broker>,
    namespace: Option<String>,
    handler: Handler,
    app: Option<App>,
    token: Option<String>,
    origins: Vec<String>,
    connector: Connector,
    observer: Option<Arc<dyn Observer>>,
}

impl Builder {
    /// Serves only what is called `namespace` and a dot before its name; an empty one is everything.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Sends every request for a service this way; what the service announces unless set.
    pub fn handler(mut self, handler: Handler) -> Self {
        self.handler = handler;
        self
    }

    /// Keeps the program beside the sidecar announced.
    pub fn app(mut self, app: App) -> Self {
        self.app = Some(app);
        self
    }

    /// Serves only those who bring `token`: as `authorization: Bearer TOKEN`, or in the header `micro-token`.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Pages of other hosts that may use the sidecar, such as `https://shop.example`; none unless set. One that is no origin
    /// leaves all of them out, see [`Cors::new`].
    pub fn origins(mut self, origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.origins = origins.into_iter().map(Into::into).collect();
        self
    }

    /// Connects to endpoints by `connector`, for other timeouts or TLS.
    pub fn connector(mut self, connector: Connector) -> Self {
        self.connector = connector;
        self
    }

    /// Tells `observer` of every request for a service.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Starts to watch, and to keep the app announced.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, as [`tokio::spawn`] does.
    pub fn build(self) -> Sidecar {
        let gateway = Gateway::builder(self.registry.clone()).id(ID);
        let gateway = gateway.handler(self.handler).broker(self.broker.clone());
        let connector = self.connector.clone();
        let gateway = gateway.upstreams(|services| services.connector(connector));
        let cors = Cors::new(self.origins.iter().map(String::as_str), false).unwrap_or_default();
        // They may open WebSockets to services, too.
        let gateway = gateway.cors(cors.clone());
        // What the program beside it asks for is the program's, unless it says otherwise.
        let gateway = gateway.recorder(Recorder::new(self.app.as_ref().map_or(ID, App::name)));
        let gateway = match self.namespace {
            Some(namespace) => gateway.namespace(namespace),
            None => gateway.namespace_first(NAMESPACE),
        };
        let gateway = gateway.build();
        let connector = self.connector;
        let caller =
            Caller::new(self.registry.clone()).clients(move |client| client.connector(connector.clone()));
        let stop = CancellationToken::new();
        let keeping = self.app.clone().map(|app| tokio::spawn(app.keep(self.registry.clone(), stop.clone())));
        let inner = Inner {
            registry: self.registry,
            broker: self.broker,
            gateway,
            caller,
            catalog: OnceLock::new(),
            held: Held::default(),
            app: self.app,
            origins: Origins::new(self.origins.clone()),
            cors,
            friends: self.origins,
            token: self.token,
            observer: self.observer,
            silent: Mutex::default(),
            open: Arc::new(Semaphore::new(OPEN as usize)),
            stop: stop.clone(),
        };
        let guard = Arc::new(stop.drop_guard());
        Sidecar { inner: Arc::new(inner), keeping: Arc::new(Mutex::new(keeping)), _guard: guard }
    }
}

/// The sidecar. Clones share everything; with the last one what it announced ends.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use micro::sidecar::Sidecar;
///
/// let (registry, broker) = (micro_discover::open("memory:")?, micro_broker::open("memory:")?);
/// let sidecar = Sidecar::builder(registry, broker).build();
/// let app: axum::Router = axum::Router::new().merge(sidecar.router());
/// # drop(app);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Sidecar {
    inner: Arc<Inner>,
    keeping: Arc<Mutex<Option<JoinHandle<()>>>>,
    _guard: Arc<DropGuard>,
}

impl Sidecar {
    /// A sidecar to the services of `registry` and the events of `broker`.
    pub fn builder(registry: Arc<dyn Registry>, broker: Arc<dyn Broker>) -> Builder {
        Builder {
            registry,
            broker,
            namespace: None,
            handler: Handler::Meta,
            app: None,
            token: None,
            origins: Vec::new(),
            connector: for_many(Connector::new()),
            observer: None,
        }
    }

    /// The sidecar as a router of axum.
    pub fn router(&self) -> Router {
        let inner = self.inner.clone();
        let registry = get(registry::find).post(registry::announce).delete(registry::withdraw);
        let broker = get(events::subscribe).post(events::publish).layer(DefaultBodyLimit::max(MOST_BYTES));
        Router::new()
            .route("/registry", registry)
            .route("/broker", broker)
            .route("/health", get(health::health))
            .route("/openapi.json", get(openapi::document))
            .fallback(calls::pass)
            .layer(from_fn_with_state(inner.clone(), guard::guard))
            .with_state(inner)
    }

    /// What tells of the requests that pass through, to be followed by whoever shows them.
    pub fn recorder(&self) -> &Recorder {
        self.inner.gateway.recorder()
    }

    /// Ends what stays open, and begins to withdraw the app.
    pub fn stop(&self) {
        self.inner.stop.cancel();
    }

    /// Ends what stays open, and withdraws all that was announced; waits for the last word of each socket, and for the
    /// WebSockets of services, for `grace` at most.
    pub async fn close(&self, grace: Duration) {
        self.stop();
        let keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeping) = keeping {
            // It ends with the token; one that panicked has withdrawn by being dropped.
            let _ = keeping.await;
        }
        self.inner.held.release().await;
        // Whoever has said its last word gives its room back.
        let _ = timeout(grace, self.inner.open.acquire_many(OPEN)).await;
        self.inner.gateway.drain(grace).await;
        self.inner.broker.close().await;
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("registry", &self.registry)
            .field("namespace", &self.namespace)
            .field("app", &self.app)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sidecar").field("registry", &self.inner.registry).finish_non_exhaustive()
    }
}
