//! Listens, serves, says so in the registry, and stops without losing a request.

mod arrived;
mod asked;
mod bound;
#[cfg_attr(
    not(any(feature = "nats", feature = "rabbitmq")),
    allow(dead_code, reason = "calls come beside the bytes of pipes over brokers, which come by feature")
)]
mod calls;
mod checks;
#[cfg(feature = "tls")]
mod clients;
mod connections;
mod error;
pub(crate) mod guard;
mod heads;
mod health;
mod hooks;
mod listener;
mod place;
mod pace;
mod prompt;
mod refusals;
mod seats;
mod seldom;
mod session;
mod settings;
mod shutdown;
mod streams;
mod tcp;
mod timer;
#[cfg(feature = "tls")]
mod tls;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use micro_discover::{Address, Endpoint, Registry, Service as Record};
use tower::BoxError;

use crate::{endless::bounded, gomicro::ask};

pub(crate) use self::hooks::Hooks;
#[cfg(feature = "tls")]
pub use self::tls::ServerTls;
pub use self::{bound::BoundServer, error::ServeError};
use self::{
    listener::Listener,
    place::{InvalidPlace, Place},
    settings::Limits,
};

/// Serves any tower service over HTTP/1 and HTTP/2: a tonic `Routes`, an axum `Router`, a function. Over TCP, or
/// wherever [`listen`](Self::listen) says.
///
/// Nothing is announced before the server listens. When it is told to stop it says NOT_SERVING to health
/// checks, withdraws what it announced, and goes on serving for a moment, until clients have heard of it; then
/// it sends GOAWAY, finishes what it has begun, and returns. A second word to stop ends all of that at once.
///
/// ```no_run
/// # async fn serve(routes: tonic::service::Routes) -> Result<(), micro_tower::server::ServeError> {
/// use micro_discover::Service;
/// use micro_tower::Server;
///
/// let registry = micro_discover::open("file:").expect("a directory of this user");
/// Server::new().announce(registry, Service::new("greeter")).bind().await?.serve(routes).await
/// # }
/// ```
#[must_use = "a server does nothing until it is bound"]
pub struct Server {
    place: Result<Place, InvalidPlace>,
    announce: Option<Announced>,
    describe: Box<dyn FnOnce(Endpoint) -> Endpoint + Send + Sync>,
    after_start: Hooks,
    before_stop: Hooks,
    ttl: Duration,
    propagation: Duration,
    grace: Duration,
    health: bool,
    limits: Limits,
    #[cfg(feature = "tls")]
    tls: Option<ServerTls>,
}

/// What is announced, and where.
type Announced = (Arc<dyn Registry>, Record);

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A server on a free port of the loopback interface, announced nowhere.
    pub fn new() -> Self {
        Self {
            place: Ok(Place::default()),
            announce: None,
            describe: Box::new(|endpoint| endpoint),
            after_start: Hooks::new("after start"),
            before_stop: Hooks::new("before stop"),
            ttl: Duration::from_secs(15),
            propagation: Duration::from_secs(1),
            grace: Duration::from_secs(30),
            health: true,
            limits: Limits::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Listens on `address`; port 0 is any that is free.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.place = Ok(Place::Tcp(address));
        self
    }

    /// Listens at `url` instead of a TCP address:
    ///
    /// | URL | is called by |
    /// |---|---|
    /// | `http://127.0.0.1:8080`, `127.0.0.1:0` | HTTP/2 and HTTP/1 over TCP |
    /// | `unix:/run/a.sock` | the same over a unix socket |
    /// | `memory://greeter` | clients in this process |
    /// | `nats://127.0.0.1:4222` | HTTP/2 over NATS, with feature `nats` |
    /// | `amqp://127.0.0.1:5672` | HTTP/2 over RabbitMQ, with feature `rabbitmq` |
    ///
    /// At a broker the server gets a name of its own, which is announced, and shares the one of its service,
    /// `micro.rpc.greeter`, with all other replicas. A URL that cannot be read fails in [`bind`](Self::bind).
    pub fn listen(mut self, url: &str) -> Self {
        self.place = url.parse();
        self
    }

    /// Announces `service` in `registry` once the server listens. A service without endpoints gets one: the
    /// address that is listened on, with a random id.
    pub fn announce(mut self, registry: Arc<dyn Registry>, service: Record) -> Self {
        self.announce = Some((registry, service));
        self
    }

    /// Changes that one endpoint before it is announced: gives it a weight, a zone, an id, or the address at
    /// which clients reach this machine.
    pub fn endpoint(mut self, describe: impl FnOnce(Endpoint) -> Endpoint + Send + Sync + 'static) -> Self {
        self.describe = Box::new(describe);
        self
    }

    /// For how long clients believe the announcement when the server falls silent; 15 s unless set.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How long to go on serving after the announcement was withdrawn: longer than it takes clients to hear
    /// of it. 1 s unless set.
    pub fn propagation(mut self, delay: Duration) -> Self {
        self.propagation = delay;
        self
    }

    /// Does something once the server listens and is announced; where that fails the server stops.
    pub fn after_start<F, R>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.after_start.add(hook);
        self
    }

    /// Does something when the server is told to stop, while it still serves; where that fails it stops all
    /// the same.
    pub fn before_stop<F, R>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.before_stop.add(hook);
        self
    }

    /// How long what was begun may take to finish; 30 s unless set.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Whether the server answers `grpc.health.v1.Health` itself; true unless set.
    pub fn health(mut self, health: bool) -> Self {
        self.health = health;
        self
    }

    /// How many connections there may be at a time; 10,000 unless set. One more ends one that has not asked for anything yet, of
    /// the address that has most. Or else one that asks for nothing at present, of an address that has several and no fewer than
    /// its own. Where there is none it waits. The first 64 bits of an address of IPv6 count as one.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.limits.connections = connections.max(1);
        self
    }

    /// How many requests one HTTP/2 connection may carry at a time; 200 unless set.
    pub fn max_concurrent_streams(mut self, streams: u32) -> Self {
        self.limits.streams = streams.max(1);
        self
    }

    /// How long a client may take to say what it wants; 10 s unless set. Counts for TLS too.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.limits.header_timeout = bounded(timeout);
        self
    }

    /// How many bytes of an HTTP/1 body a client has to send each second on average, where they are waited for;
    /// 100 unless set. The time of [`header_timeout`](Self::header_timeout) comes on top.
    pub fn body_rate(mut self, bytes: u64) -> Self {
        self.limits.body_rate = bytes;
        self
    }

    /// How long a client may take nothing of an answer that is there for it; 10 s unless set. Over TCP its system tells of
    /// what it has read once that is some 100 kB, where ours is Linux: elsewhere it may be a megabyte.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.limits.stall_timeout = bounded(timeout);
        self
    }

    /// How long a connection may be without a request; 60 s unless set.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.idle_timeout = bounded(timeout);
        self
    }

    /// How often an HTTP/2 client is asked whether it is still there, 60 s unless set, and how long it may
    /// take to answer, 20 s unless set.
    pub fn ping(mut self, interval: Option<Duration>, timeout: Duration) -> Self {
        (self.limits.ping_interval, self.limits.ping_timeout) = (interval.map(bounded), bounded(timeout));
        self
    }

    /// How old a connection may get, for ever unless set: give or take a tenth, so that not all go at once, its client is
    /// told to use another, and what was begun has `grace` to finish ([`Duration::MAX`] is for ever). A request over HTTP/1
    /// may cross that word on its way, and is then sent again only if it may be.
    ///
    /// What spreads the clients of a load balancer that looks at connections only over servers that are new.
    pub fn max_connection_age(mut self, age: Duration, grace: Duration) -> Self {
        self.limits.age = Some((age, grace));
        self
    }

    /// Whether HTTP/1 connections may speak go-micro's RPC, streams included, and the announcement says so in the
    /// words of go-micro's clients; false unless set. What is served has to be a
    /// [`wire::Router`](crate::wire::Router).
    pub fn wire(mut self, wire: bool) -> Self {
        self.limits.wire = wire;
        self
    }

    /// Serves over TLS.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Listens, but takes no request and announces nothing yet.
    ///
    /// # Errors
    ///
    /// [`ServeError::Listen`] and [`ServeError::ListenAt`].
    pub async fn bind(mut self) -> Result<BoundServer, ServeError> {
        let place = std::mem::replace(&mut self.place, Ok(Place::default()))?;
        #[cfg(feature = "tls")]
        if self.tls.is_some() && !matches!(place, Place::Tcp(_)) {
            return Err(place.refused("a certificate is shown over TCP only"));
        }
        let name = self.announce.as_ref().map_or("server", |(_, record)| &*record.name);
        let listener = Listener::bind(place, name).await?;
        BoundServer::new(self, listener)
    }

    /// The record to announce by a server that listens there.
    fn record(&mut self, listener: &Listener) -> Result<Option<Announced>, ServeError> {
        let Some((registry, mut record)) = self.announce.take() else { return Ok(None) };
        if record.endpoints.is_empty() {
            let id = format!("{}-{:016x}", record.name, fastrand::u64(..));
            let endpoint = match listener.local_address() {
                Some(local) => self.endpoint_at(id, local)?,
                None => self.describe(listener.endpoint(id)?),
            };
            // go-micro's clients know TCP only.
            let wire = self.limits.wire && listener.local_address().is_some();
            record = record.endpoint(if wire { ask::labelled(endpoint) } else { endpoint });
        }
        Ok(Some((registry, record)))
    }

    fn endpoint_at(&mut self, id: String, local: SocketAddr) -> Result<Endpoint, ServeError> {
        let unreachable = ServeError::Unreachable { address: local };
        // Nobody can call 0.0.0.0, but the endpoint is described before that is known to matter.
        let any = SocketAddr::from(([127, 0, 0, 1], local.port()));
        let known = if local.ip().is_unspecified() { any } else { local };
        let Ok(address) = format!("{}{known}", self.scheme()).parse::<Address>() else {
            return Err(unreachable);
        };
        let endpoint = self.describe(Endpoint::new(id, address.clone()));
        if local.ip().is_unspecified() && endpoint.address == address {
            return Err(unreachable);
        }
        Ok(endpoint)
    }

    fn describe(&mut self, endpoint: Endpoint) -> Endpoint {
        let describe = std::mem::replace(&mut self.describe, Box::new(|endpoint| endpoint));
        describe(endpoint)
    }

    /// What stands before the address in the announcement.
    fn scheme(&self) -> &'static str {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return "https://";
        }
        ""
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("place", &self.place)
            .field("announce", &self.announce)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
