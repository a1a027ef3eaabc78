//! The connections to one endpoint, and which of them a request takes.

mod attempt;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::{FutureExt as _, future::BoxFuture, future::Shared};
use http::Request;
use micro_balance::{Unsent, classify::is_grpc};
use micro_discover::Endpoint;
use tokio::{task::AbortHandle, time::Instant};

use self::attempt::{Failed, connect, drive};
use super::response::{More, ResponseFuture, State, Turn};
use crate::{
    error::{Error, Phase},
    gomicro::ask::Dialect,
    transport::{
        connect::Connector,
        crowd::Crowd,
        gomicro::GoMicro,
        http1::Http1,
        http2::{Driver, Http2},
        rate::Rate,
        request::RequestBody,
        target::Target,
    },
};

/// How long the endpoint keeps the connections it has after it could not get one more.
const NO_MORE_FOR: Duration = Duration::from_secs(1);

/// Ends when an attempt to connect does.
pub(super) type Attempt = Shared<BoxFuture<'static, Result<(), Failed>>>;

pub(super) struct Peer<B: RequestBody> {
    settings: Arc<Connector>,
    target: Arc<Target>,
    http2: ArcSwap<Vec<Arc<Http2>>>,
    /// How many these are: most who ask want to know no more, and a look at the list takes two locked instructions.
    http2_open: AtomicUsize,
    /// Requests of HTTP/2 of which more is to come: they may not have all streams.
    crowd: Crowd,
    http1: Arc<Http1<B>>,
    /// Where gRPC has to be translated.
    gomicro: Option<Arc<GoMicro>>,
    attempt: Mutex<Running>,
    /// How often the peer complained of too many PINGs.
    calm: AtomicU32,
}

#[derive(Default)]
struct Running {
    attempt: Option<(Attempt, AbortHandle)>,
    failed_at: Option<Instant>,
}

impl<B: RequestBody> Peer<B> {
    pub(super) fn new(
        connector: &Connector,
        settings: Connector,
        endpoint: &Endpoint,
        dialect: Option<Dialect>,
    ) -> Self {
        let target = Target::new(endpoint, connector.authority.clone(), connector.service.clone());
        let (settings, target) = (Arc::new(settings), Arc::new(target));
        Self {
            http2: ArcSwap::default(),
            http2_open: AtomicUsize::new(0),
            crowd: Crowd::new(usize::MAX),
            http1: Arc::new(Http1::new(settings.clone(), target.clone())),
            gomicro: dialect.map(|dialect| Arc::new(GoMicro::new(dialect, connector))),
            settings,
            target,
            attempt: Mutex::default(),
            calm: AtomicU32::new(0),
        }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn is_ready(&self) -> bool {
        self.http2_open.load(Ordering::Acquire) > 0 || self.http1.is_open()
    }

    pub(super) fn send(self: &Arc<Self>, request: Request<B>) -> ResponseFuture<B> {
        // Where HTTP/1 is spoken there is no list to look at.
        if self.http2_open.load(Ordering::Acquire) == 0 {
            return self.send_http1(request);
        }
        let connections = self.http2.load();
        if let Some(first) = connections.first()
            && let Some(rate) = request.extensions().get::<Rate>()
            && let Some(turn) = self.turn(rate, first.limit())
        {
            return ResponseFuture(State::Turn(Box::new(Turn {
                endpoint: self.clone(),
                turn,
                request: Some(request),
            })));
        }
        for connection in connections.iter() {
            if let Some(slot) = connection.reserve() {
                return ResponseFuture::sent(slot.send(&self.target, request));
            }
        }
        let Some(least) = connections.iter().min_by_key(|connection| connection.in_flight()) else {
            return self.send_http1(request);
        };
        if connections.len() < self.settings.most_http2(least.limit())
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

    /// What a body has to wait for that may take its time, if it has to, where the peer allows so many `streams` on a
    /// connection.
    fn turn(self: &Arc<Self>, rate: &Rate, streams: usize) -> Option<BoxFuture<'static, ()>> {
        if rate.is_over() || self.crowd.has(rate) {
            return None;
        }
        self.crowd.resize(self.settings.most_http2(streams).saturating_mul(streams));
        let (endpoint, rate) = (self.clone(), rate.clone());
        let mut turn = async move { endpoint.crowd.place_among_equals(rate).await }.boxed();
        // Mostly there is room at once. Otherwise it is polled again by who waits.
        let there = turn.poll_unpin(&mut Context::from_waker(Waker::noop())).is_ready();
        (!there).then_some(turn)
    }

    fn send_http1(self: &Arc<Self>, request: Request<B>) -> ResponseFuture<B> {
        if !self.http1.is_open() {
            let error = Error::not_sent(Phase::Send, "the connection has just been closed");
            let error = Unsent::new(request, self.target.name().blame(error));
            return ResponseFuture(State::Failed(Some(error.into())));
        }
        let http1 = self.http1.clone();
        if let Some(gomicro) = self.gomicro.as_ref().filter(|_| is_grpc(request.headers())) {
            let gomicro = gomicro.clone();
            let target = Target::clone(&self.target);
            let unreachable = move || http1.reached(false);
            let response = gomicro.send(self.settings.clone(), target, request, unreachable);
            return ResponseFuture(State::GoMicro(Box::pin(response)));
        }
        ResponseFuture(State::Http1(http1.send(request)))
    }

    /// The attempt that is being made, or else a new one.
    pub(super) fn attempt(self: &Arc<Self>) -> Attempt {
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

    pub(super) fn insert(self: &Arc<Self>, http2: &Arc<Http2>, driver: Driver) {
        self.http2.rcu(|list| list.iter().chain([http2]).cloned().collect::<Vec<_>>());
        self.http2_open.fetch_add(1, Ordering::Release);
        tokio::spawn(drive(Arc::downgrade(self), Arc::downgrade(http2), driver));
    }

    pub(super) fn remove(&self, http2: &Weak<Http2>) {
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
