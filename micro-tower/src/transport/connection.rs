//! One endpoint as a service: connecting, connected, gone.

mod attempt;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::{FutureExt as _, future::BoxFuture, future::Shared};
use http::{Request, Response};
use micro_balance::{Unsent, classify::is_grpc};
use micro_discover::Endpoint;
use tokio::{task::AbortHandle, time::Instant};
use tower::BoxError;
use tower_service::Service;

use self::attempt::{Failed, connect, drive};
use super::{
    body::Body,
    connect::{Connector, HttpVersion},
    gomicro::GoMicro,
    http1::{self, Http1},
    http2::{self, Driver, Http2},
    request::RequestBody,
    target::Target,
};
use crate::{
    error::{Error, Phase},
    gomicro::ask::Dialect,
};

/// How long the endpoint keeps the connections it has after it could not get one more.
const NO_MORE_FOR: Duration = Duration::from_secs(1);

/// Connects to one endpoint and sends it requests, over as many connections as that takes.
///
/// Clones share the connections. [`poll_ready`](Service::poll_ready) connects where there is no connection:
/// all clones wait for the same attempt, and each of them is told once if it fails; polling again makes the
/// next attempt. A connection that is closed, or that the peer wants to close, gets no further request while
/// the ones on it finish. What was provably not sent comes back in [`Unsent`].
///
/// Requests get the endpoint's authority. Dropping the last clone closes the connections once their last
/// responses have ended.
pub struct Connection<B: RequestBody = tonic::body::Body> {
    endpoint: Arc<Peer<B>>,
    waiting: Option<Attempt>,
}

/// Ends when an attempt to connect does.
type Attempt = Shared<BoxFuture<'static, Result<(), Failed>>>;

struct Peer<B: RequestBody> {
    settings: Arc<Connector>,
    target: Arc<Target>,
    http2: ArcSwap<Vec<Arc<Http2>>>,
    /// How many these are: most who ask want to know no more, and a look at the list takes two locked instructions.
    http2_open: AtomicUsize,
    http1: Arc<Http1<B>>,
    /// Where gRPC has to be translated.
    gomicro: Option<Arc<GoMicro>>,
    /// Whether HTTP/1 is spoken, and the last attempt to connect succeeded.
    http1_open: AtomicBool,
    attempt: Mutex<Running>,
    /// How often the peer complained of too many PINGs.
    calm: AtomicU32,
}

#[derive(Default)]
struct Running {
    attempt: Option<(Attempt, AbortHandle)>,
    failed_at: Option<Instant>,
}

impl Connector {
    /// A service for `endpoint`, which connects when it is first polled. Only then a tokio runtime is needed.
    pub fn connect(&self, endpoint: &Endpoint) -> Connection {
        self.connect_with(endpoint)
    }

    /// The same for requests with another body than tonic's.
    pub fn connect_with<B: RequestBody>(&self, endpoint: &Endpoint) -> Connection<B> {
        let dialect = Dialect::of(&endpoint.metadata);
        let settings = match dialect {
            Some(_) => self.clone().http_version(HttpVersion::Http1),
            None => self.clone(),
        };
        Connection {
            endpoint: Arc::new(Peer {
                settings: Arc::new(settings),
                target: Arc::new(Target::new(endpoint, self.authority.clone(), self.service.clone())),
                http2: ArcSwap::default(),
                http2_open: AtomicUsize::new(0),
                http1: Arc::new(Http1::new(self)),
                gomicro: dialect.map(|dialect| Arc::new(GoMicro::new(dialect, self))),
                http1_open: AtomicBool::new(false),
                attempt: Mutex::default(),
                calm: AtomicU32::new(0),
            }),
            waiting: None,
        }
    }
}

impl<B: RequestBody> Connection<B> {
    /// The host and port it connects to, unless that is a unix socket.
    pub fn tcp_address(&self) -> Option<String> {
        Some(self.endpoint.target.uri()?.authority()?.to_string())
    }
}

impl<B: RequestBody> Peer<B> {
    fn is_ready(&self) -> bool {
        self.http2_open.load(Ordering::Acquire) > 0 || self.http1_open.load(Ordering::Relaxed)
    }

    fn send(self: &Arc<Self>, request: Request<B>) -> ResponseFuture<B> {
        let connections = self.http2.load();
        for connection in connections.iter() {
            if let Some(slot) = connection.reserve() {
                return ResponseFuture::sent(slot.send(&self.target, request));
            }
        }
        let Some(least) = connections.iter().min_by_key(|connection| connection.in_flight()) else {
            return self.send_http1(request);
        };
        if connections.len() < self.settings.max_connections
            && let Some(attempt) = self.grow()
        {
            let more = More { endpoint: self.clone(), attempt, request: Some(request) };
            return ResponseFuture(State::More(Box::new(more)));
        }
        if connections.iter().all(|connection| connection.is_closed_for_now()) {
            let why = "the server takes no requests at present: it allows no streams on a connection";
            let error = self.target.name().blame(Error::not_sent(Phase::Send, why));
            return ResponseFuture(State::Failed(Some(Unsent::new(request, error).into())));
        }
        ResponseFuture::sent(least.queue().send(&self.target, request))
    }

    fn send_http1(self: &Arc<Self>, request: Request<B>) -> ResponseFuture<B> {
        if !self.http1_open.load(Ordering::Relaxed) {
            let error = Error::not_sent(Phase::Send, "the connection has just been closed");
            let error = Unsent::new(request, self.target.name().blame(error));
            return ResponseFuture(State::Failed(Some(error.into())));
        }
        let endpoint = self.clone();
        let unreachable = move || endpoint.http1_open.store(false, Ordering::Relaxed);
        if let Some(gomicro) = self.gomicro.as_ref().filter(|_| is_grpc(request.headers())) {
            let gomicro = gomicro.clone();
            let target = Target::clone(&self.target);
            let response = gomicro.send(self.settings.clone(), target, request, unreachable);
            return ResponseFuture(State::GoMicro(Box::pin(response)));
        }
        let http1 = self.http1.clone();
        let response = http1.send(self.settings.clone(), self.target.clone(), request, unreachable);
        ResponseFuture(State::Http1(Box::pin(response)))
    }

    /// The attempt that is being made, or else a new one.
    fn attempt(self: &Arc<Self>) -> Attempt {
        self.join(&mut self.running())
    }

    /// The same for one more connection, unless the last attempt failed just now.
    fn grow(self: &Arc<Self>) -> Option<Attempt> {
        let mut running = self.running();
        if running.failed_at.is_some_and(|at| at.elapsed() < NO_MORE_FOR) {
            return None;
        }
        Some(self.join(&mut running))
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>, running: &mut Running) -> Attempt {
        if let Some((attempt, task)) = &running.attempt
            && !task.is_finished()
        {
            return attempt.clone();
        }
        let (settings, target) = (self.settings.clone(), self.target.clone());
        let task = tokio::spawn(connect(Arc::downgrade(self), settings, target));
        let abort = task.abort_handle();
        let attempt = async move { task.await.unwrap_or_else(|stopped| Err(Failed::new(stopped))) };
        let attempt = attempt.boxed().shared();
        running.attempt = Some((attempt.clone(), abort));
        attempt
    }

    fn insert(self: &Arc<Self>, http2: &Arc<Http2>, driver: Driver) {
        self.http2.rcu(|list| list.iter().chain([http2]).cloned().collect::<Vec<_>>());
        self.http2_open.fetch_add(1, Ordering::Release);
        tokio::spawn(drive(Arc::downgrade(self), Arc::downgrade(http2), driver));
    }

    fn remove(&self, http2: &Weak<Http2>) {
        let other = |connection: &&Arc<Http2>| !std::ptr::eq(Arc::as_ptr(connection), http2.as_ptr());
        self.http2_open.fetch_sub(1, Ordering::Release);
        self.http2.rcu(|list| list.iter().filter(other).cloned().collect::<Vec<_>>());
    }
}

impl<B: RequestBody> Drop for Peer<B> {
    fn drop(&mut self) {
        if let Some((_, task)) = self.running().attempt.take() {
            task.abort();
        }
    }
}

impl<B: RequestBody> Service<Request<B>> for Connection<B> {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = ResponseFuture<B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            if self.endpoint.is_ready() {
                self.waiting = None;
                return Poll::Ready(Ok(()));
            }
            let attempt = self.waiting.get_or_insert_with(|| self.endpoint.attempt());
            let result = ready!(attempt.poll_unpin(cx));
            self.waiting = None;
            if let Err(failed) = result {
                return Poll::Ready(Err(failed.at(&self.endpoint.target).into()));
            }
        }
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture<B> {
        self.endpoint.send(request)
    }
}

impl<B: RequestBody> Clone for Connection<B> {
    fn clone(&self) -> Self {
        Self { endpoint: self.endpoint.clone(), waiting: None }
    }
}

impl<B: RequestBody> fmt::Debug for Connection<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("endpoint", self.endpoint.target.address())
            .field("ready", &self.endpoint.is_ready())
            .finish()
    }
}

/// Response of a [`Connection`]. The request is on its way when this exists; dropping it cancels the request.
pub struct ResponseFuture<B: RequestBody = tonic::body::Body>(State<B>);

enum State<B: RequestBody> {
    Http2(http2::InFlight),
    Http1(BoxFuture<'static, Result<Response<http1::Incoming>, BoxError>>),
    GoMicro(BoxFuture<'static, Result<Response<Body>, BoxError>>),
    More(Box<More<B>>),
    Failed(Option<BoxError>),
}

/// A request that waits for one more connection.
struct More<B: RequestBody> {
    endpoint: Arc<Peer<B>>,
    attempt: Attempt,
    request: Option<Request<B>>,
}

impl<B: RequestBody> ResponseFuture<B> {
    fn sent(sent: Result<http2::InFlight, BoxError>) -> Self {
        Self(match sent {
            Ok(in_flight) => State::Http2(in_flight),
            Err(error) => State::Failed(Some(error)),
        })
    }
}

impl<B: RequestBody> Future for ResponseFuture<B> {
    type Output = Result<Response<Body>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut self.0 {
                State::Http2(in_flight) => {
                    let response = ready!(in_flight.poll(cx));
                    return Poll::Ready(response.map(|response| response.map(Body::http2)));
                }
                State::Http1(response) => {
                    let response = ready!(response.as_mut().poll(cx));
                    return Poll::Ready(response.map(|response| response.map(Body::http1)));
                }
                State::GoMicro(response) => return response.as_mut().poll(cx),
                State::More(more) => {
                    // Where no more can be had, the request waits on a connection there is.
                    let _ = ready!(more.attempt.poll_unpin(cx));
                    let Some(request) = more.request.take() else { return Poll::Pending };
                    let next = more.endpoint.send(request);
                    *self = next;
                }
                State::Failed(error) => {
                    let Some(error) = error.take() else { return Poll::Pending };
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

impl<B: RequestBody> fmt::Debug for ResponseFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}
