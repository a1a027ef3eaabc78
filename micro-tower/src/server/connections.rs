//! Accepts connections, serves them, and lets them go.

#[cfg(feature = "tls")]
use std::net::SocketAddr;
use std::{io, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::{
    net::TcpStream,
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::body::Body;
use tower::BoxError;
use tower_service::Service;

#[cfg(any(feature = "nats", feature = "rabbitmq"))]
use super::calls::Calls;
#[cfg(feature = "tls")]
use super::tls::ServerTls;
use super::{
    health::Served,
    listener::{Accepted, Listener},
    refusals::Refusals,
    seats::{Seat, Seats},
    session::{Session, Terms, serve},
    settings::Limits,
    tcp::Tcp,
};

/// How long to wait when there is no room for one more connection, here or in the system.
const NO_ROOM: Duration = Duration::from_millis(100);

pub(super) struct Connections<S> {
    pub(super) service: Served<S>,
    pub(super) limits: Arc<Limits>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<ServerTls>,
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
        let seats = Seats::default();
        loop {
            let next = async {
                let accepted = listener.accept().await?;
                let client = accepted.client();
                let permit = permit(&permits, || seats.make_room(client)).await;
                Ok::<_, io::Error>((permit.map_err(io::Error::other)?, accepted))
            };
            let accepted = tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => break,
                accepted = next => accepted,
            };
            while tasks.try_join_next().is_some() {}
            match accepted {
                Ok((permit, accepted)) => {
                    let seat = accepted.client().map(|client| seats.take(client));
                    let service = seat.as_ref().map(Seat::service);
                    let terms = self.terms(permit, seat, &closing);
                    let task = tasks.spawn(self.connection(accepted, terms));
                    if let Some(service) = service {
                        service(task);
                    }
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
            tasks.spawn(self.connection(accepted, self.terms(permit, None, &closing)));
        }
        while tasks.join_next().await.is_some() {}
        closed.flush().await;
    }

    fn terms(
        &self,
        permit: OwnedSemaphorePermit,
        seat: Option<Seat>,
        closing: &watch::Receiver<bool>,
    ) -> Terms<Place> {
        let place = Place { _permit: permit, seat };
        Terms { limits: self.limits.clone(), closing: closing.clone(), place }
    }

    /// The life of one connection.
    fn connection(&self, accepted: Accepted, terms: Terms<Place>) -> BoxFuture<'static, ()> {
        let service = self.service.clone();
        match accepted {
            Accepted::Tcp(stream, remote) => {
                // Latency only: what fails here, fails in the next read.
                let _ = stream.set_nodelay(true);
                let service = service.on(stream.local_addr().ok(), remote);
                #[cfg(feature = "tls")]
                if let Some(tls) = self.tls.clone() {
                    return Box::pin(secure((stream, remote), tls, service, terms));
                }
                let (stream, session) = terms.place.speaks(stream, service);
                serve(stream, session, terms)
            }
            Accepted::Unix(stream) => serve(stream, service.into(), terms),
            Accepted::Memory(stream) => serve(stream, service.into(), terms),
            #[cfg(any(feature = "nats", feature = "rabbitmq"))]
            Accepted::Broker(mut pipe) => {
                let mut session = Session::from(service);
                let (calls, listener) = Calls::new(pipe.asides(), session.service.clone(), &terms.limits);
                pipe.attend(listener);
                session.calls = Some(calls);
                serve(pipe, session, terms)
            }
        }
    }
}

/// What a connection takes of what there is, until it ends.
struct Place {
    _permit: OwnedSemaphorePermit,
    seat: Option<Seat>,
}

impl Place {
    /// A client has this place who is served by `service`.
    fn speaks<S>(&self, stream: TcpStream, service: Served<S>) -> (Tcp, Session<S>) {
        let session = Session::from(service);
        if let Some(seat) = &self.seat {
            seat.speaks(&session.pace);
        }
        (Tcp { stream, pace: session.pace.clone() }, session)
    }
}

/// A place for one more connection. Where there is none, `make_room` is called now and again.
async fn permit(
    permits: &Arc<Semaphore>,
    make_room: impl Fn() -> bool,
) -> Result<OwnedSemaphorePermit, AcquireError> {
    if let Ok(permit) = permits.clone().try_acquire_owned() {
        return Ok(permit);
    }
    let mut permit = std::pin::pin!(permits.clone().acquire_owned());
    loop {
        make_room();
        if let Ok(permit) = timeout(NO_ROOM, permit.as_mut()).await {
            return permit;
        }
    }
}

/// Serves what a client says over TLS.
#[cfg(feature = "tls")]
async fn secure<S>(
    (stream, remote): (TcpStream, SocketAddr),
    tls: ServerTls,
    service: Served<S>,
    terms: Terms<Place>,
) where
    Served<S>: Service<Request<Incoming>, Response = Response<Body>, Error = BoxError, Future: Send>,
    Served<S>: Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send>,
    S: Clone + Send + 'static,
{
    // Who has not said a word needs no room for TLS.
    let patience = terms.limits.header_timeout;
    let spoken = timeout(patience, stream.readable());
    if !matches!(spoken.await, Ok(Ok(()))) {
        tracing::debug!(%remote, "a client said nothing");
        return;
    }
    let (stream, session) = terms.place.speaks(stream, service);
    let shaken = Box::pin(timeout(patience, tls.acceptor().accept(stream)));
    match shaken.await {
        Ok(Ok(stream)) => serve(stream, session, terms).await,
        Ok(Err(error)) => tracing::debug!(%remote, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%remote, "a TLS handshake took too long"),
    }
}

/// Whether accepting failed because of the peer, not of this machine.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
