//! Accepts connections, serves them, and lets them go.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::body::Body;
use tower::BoxError;
use tower_service::Service;

use super::{
    calls::{Calls, Fetching},
    guard::Guard,
    health::Served,
    listener::{Accepted, Listener},
    pace::Pace,
    refusals::Refusals,
    settings::Limits,
};
use crate::gomicro::front;

/// How long to wait when the system has no room for one more connection.
const NO_ROOM: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(super) struct Connections<S> {
    pub(super) service: Served<S>,
    pub(super) limits: Limits,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<tokio_rustls::TlsAcceptor>,
}

impl<S> Connections<S>
where
    Served<S>: Service<Request<Incoming>, Response = Response<Body>, Error = BoxError, Future: Send>,
    Served<S>: Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send>,
    S: Clone + Send + 'static,
{
    /// Serves what `listener` accepts until `closing` becomes true; ends when the last connection has.
    pub(super) async fn serve(self, mut listener: Listener, mut closing: watch::Receiver<bool>) {
        let (mut tasks, mut refusals) = (JoinSet::new(), Refusals::default());
        let permits = Arc::new(Semaphore::new(self.limits.connections.min(Semaphore::MAX_PERMITS)));
        loop {
            let next = async {
                let permit = permits.clone().acquire_owned().await;
                Ok::<_, io::Error>((permit.map_err(io::Error::other)?, listener.accept().await?))
            };
            let accepted = tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => break,
                accepted = next => accepted,
            };
            while tasks.try_join_next().is_some() {}
            match accepted {
                Ok((permit, accepted)) => {
                    tasks.spawn(self.clone().connection(accepted, permit, closing.clone()));
                }
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    refusals.note(&error);
                    sleep(NO_ROOM).await;
                }
            }
        }
        // Those that were accepted already are served, and told that it is the end.
        let (last, closed) = listener.close();
        for accepted in last {
            let Ok(permit) = permits.clone().try_acquire_owned() else { break };
            tasks.spawn(self.clone().connection(accepted, permit, closing.clone()));
        }
        while tasks.join_next().await.is_some() {}
        closed.flush().await;
    }

    async fn connection(
        self,
        accepted: Accepted,
        _permit: OwnedSemaphorePermit,
        closing: watch::Receiver<bool>,
    ) {
        match accepted {
            Accepted::Tcp(stream, remote) => self.tcp(stream, remote, closing).await,
            Accepted::Unix(stream) => serve(stream, self.service.into(), self.limits, closing).await,
            Accepted::Memory(stream) => serve(stream, self.service.into(), self.limits, closing).await,
            #[cfg(any(feature = "nats", feature = "rabbitmq"))]
            Accepted::Broker(mut pipe) => {
                let mut session = Session::from(self.service);
                let (calls, listener) = Calls::new(pipe.asides(), session.service.clone(), &self.limits);
                pipe.attend(listener);
                session.calls = Some(calls);
                serve(pipe, session, self.limits, closing).await;
            }
        }
    }

    async fn tcp(self, stream: TcpStream, remote: SocketAddr, mut closing: watch::Receiver<bool>) {
        // Latency only: what fails here, fails in the next read.
        let _ = stream.set_nodelay(true);
        let local = stream.local_addr().ok();
        let service = self.service.clone().on(local, remote);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            match timeout(self.limits.header_timeout, tls.accept(stream)).await {
                Ok(Ok(stream)) => serve(stream, service.into(), self.limits, closing).await,
                Ok(Err(error)) => tracing::debug!(%remote, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%remote, "a TLS handshake took too long"),
            }
            return;
        }
        // A connection on which nothing is ever said holds its place no longer than a slow request's head.
        let mut first = [0];
        let spoken = timeout(self.limits.header_timeout, stream.peek(&mut first));
        let silent = tokio::select! {
            spoken = spoken => !matches!(spoken, Ok(Ok(1))),
            _ = closing.wait_for(|closing| *closing) => false,
        };
        if silent {
            return;
        }
        serve(stream, service.into(), self.limits, closing).await;
    }
}

/// What is to be served on one connection.
struct Session<S> {
    service: Served<S>,
    pace: Pace,
    /// Those that go beside its bytes, where there is such a way.
    calls: Option<Calls>,
}

impl<S> From<Served<S>> for Session<S> {
    fn from(service: Served<S>) -> Self {
        let (service, pace) = service.paced();
        Self { service, pace, calls: None }
    }
}

/// Serves what is said on `io`: go-micro's RPC where that is wanted, and HTTP.
async fn serve<I, S>(io: I, session: Session<S>, limits: Limits, closing: watch::Receiver<bool>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Served<S>: Service<Request<Incoming>, Response = Response<Body>, Error = BoxError, Future: Send>,
    Served<S>: Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send>,
    S: Clone + Send + 'static,
{
    if !limits.wire {
        return http(io, session, limits, closing).await;
    }
    let taken = front::take(io, session.service.clone(), limits.header_timeout, closing.clone());
    if let Some(io) = taken.await {
        http(io, session, limits, closing).await;
    }
}

async fn http<I, S>(io: I, session: Session<S>, limits: Limits, mut closing: watch::Receiver<bool>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Served<S>: Service<Request<Incoming>, Response = Response<Body>, Error = BoxError, Future: Send>,
    S: Clone + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    // How long a head may take is the guard's to watch, which sees its first byte.
    builder.http1().header_read_timeout(None).max_buf_size((limits.header_bytes as usize).max(8 << 10) * 2);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header_bytes)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout);
    let Session { service, pace, calls } = session;
    let io = TokioIo::new(Guard::new(io, &limits));
    let service = TowerToHyperService::new(Fetching::new(service, calls.clone()));
    let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
    let mut stuck = pin!(pace.stuck(&limits));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stuck.as_mut() => return tracing::debug!("a connection was cut: the client takes nothing"),
        () = async {
            tokio::select! {
                _ = closing.wait_for(|closing| *closing) => {}
                () = pace.idle(&limits) => {}
            }
            // Those beside the bytes have to end before the bytes do.
            if let Some(calls) = &calls {
                calls.close();
                calls.ended().await;
            }
        } => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                result = connection.as_mut() => result,
                () = stuck.as_mut() => return tracing::debug!("a connection was cut: the client takes nothing"),
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(error, "a connection was closed");
    }
}

/// Whether accepting failed because of the peer, not of this machine.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
