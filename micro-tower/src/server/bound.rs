//! A server's life: announced, serving, told to stop, withdrawn, drained.

use std::{fmt, future::Future, mem, net::SocketAddr, pin::pin, sync::Arc};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response};
use http_body::Body as HttpBody;
use micro_discover::{Announce, Announcement};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tonic::body::Body;
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::BoxError;
use tower_service::Service;

use super::{
    Hooks, ServeError, Server,
    connections::Connections,
    health::Served,
    listener::Listener,
    shutdown::{self, Words},
};

/// A [`Server`] that listens.
#[must_use = "a server does nothing until it serves"]
pub struct BoundServer {
    server: Server,
    listener: Listener,
    announce: Option<Announce>,
    names: Vec<String>,
    health: HealthReporter,
}

impl BoundServer {
    pub(super) fn new(mut server: Server, listener: Listener) -> Result<Self, ServeError> {
        let record = server.record(&listener)?;
        let mut names = vec![String::new()];
        names.extend(record.iter().map(|(_, record)| record.name.clone()));
        let announce = record.map(|(registry, record)| Announce::new(registry, record).ttl(server.ttl));
        Ok(Self { server, listener, announce, names, health: HealthReporter::new() })
    }

    /// The TCP address that is listened on; `0.0.0.0:0` where it is none, see [`address`](Self::address).
    pub fn local_address(&self) -> SocketAddr {
        self.listener.local_address().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// What is listened at, as a client on this machine would call it.
    pub fn address(&self) -> String {
        self.listener.to_string()
    }

    /// Tells health checks what is served. The server itself reports the name `""`, and the one it is announced
    /// by.
    pub fn health_reporter(&self) -> HealthReporter {
        self.health.clone()
    }

    /// Serves `service` until this process gets SIGTERM or SIGINT; a second one stops at once. Where `service` fails, its
    /// error is answered as [`status`](crate::status) has it.
    ///
    /// # Errors
    ///
    /// [`ServeError::Announce`] when the registry will never take the announcement, and
    /// [`ServeError::Signals`].
    pub async fn serve<S, B>(self, service: S) -> Result<(), ServeError>
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
        S: Clone + Send + 'static,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let words = shutdown::signals().map_err(ServeError::Signals)?;
        self.run(service, words).await
    }

    /// Serves `service` until `stop` ends. Dropping the future stops at once.
    ///
    /// # Errors
    ///
    /// [`ServeError::Announce`] when the registry will never take the announcement.
    pub async fn serve_until<S, B>(
        self,
        service: S,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError>
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
        S: Clone + Send + 'static,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.run(service, shutdown::when(stop)).await
    }

    async fn run<S, B>(self, service: S, mut words: Words) -> Result<(), ServeError>
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
        S: Clone + Send + 'static,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let Self { mut server, listener, announce, names, health, .. } = self;
        let (close, closing) = watch::channel(false);
        let connections = Connections {
            service: Served::new(service, server.health.then(|| health.clone()), closing.clone()),
            limits: Arc::new(server.limits),
            #[cfg(feature = "tls")]
            tls: server.tls.clone(),
        };
        let (after_start, before_stop) = (
            mem::replace(&mut server.after_start, Hooks::new("")),
            mem::replace(&mut server.before_stop, Hooks::new("")),
        );
        #[cfg(feature = "tls")]
        let _following = server.tls.clone().map(|tls| Task(tokio::spawn(tls.follow())));
        let mut serving = pin!(connections.serve(listener, closing));
        let life = async {
            report(&health, &names, ServingStatus::Serving).await;
            let announcement = match announce {
                Some(announce) => Some(announce.start().await?),
                None => None,
            };
            let mut result = after_start.run().await;
            if result.is_ok() {
                words.next().await;
            }
            tracing::info!("stopping: finishing what was begun");
            let stopping = async {
                report(&health, &names, ServingStatus::NotServing).await;
                result = mem::replace(&mut result, Ok(())).and(before_stop.run().await);
                withdraw(announcement, &server).await;
            };
            let in_order = tokio::select! {
                () = stopping => true,
                _ = words.next() => false,
            };
            Ok::<_, ServeError>((in_order, result))
        };
        let (in_order, result) = tokio::select! {
            lived = life => lived?,
            // It ends only when it is closed.
            () = &mut serving => (true, Ok(())),
        };
        if in_order {
            let _ = close.send(true);
            tokio::select! {
                finished = timeout(server.grace, &mut serving) => if finished.is_err() {
                    tracing::warn!(grace = ?server.grace, "stopping with requests unfinished");
                },
                _ = words.next() => tracing::warn!("told twice to stop: stopping with requests unfinished"),
            }
        }
        result
    }
}

/// A task that ends with this.
#[cfg(feature = "tls")]
struct Task(tokio::task::JoinHandle<()>);

#[cfg(feature = "tls")]
impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Takes the announcement back and waits until clients have heard of it.
async fn withdraw(announcement: Option<Announcement>, server: &Server) {
    let Some(announcement) = announcement else { return };
    if let Err(error) = announcement.withdraw().await {
        tracing::warn!(%error, "the announcement could not be withdrawn: it ends with its time to live");
    }
    sleep(server.propagation).await;
}

async fn report(health: &HealthReporter, names: &[String], status: ServingStatus) {
    for name in names {
        health.set_service_status(name, status).await;
    }
}

impl fmt::Debug for BoundServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundServer").field("listener", &self.listener).finish_non_exhaustive()
    }
}
