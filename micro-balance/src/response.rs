//! The way of one request: picked, sent, and sent elsewhere while that provably does no harm.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use pin_project::pin_project;
use tower::BoxError;
use tower_service::Service;
use tracing::Span;

use crate::{
    broken::BrokenBody,
    cause::cause,
    chance::Chance,
    classify::Outcome,
    clock::Moment,
    eligible::Marks,
    endpoint::Endpoint,
    in_flight::{InFlight, Sending},
    policy::Policy,
    protocol::Protocol,
    search::Search,
    sent::Unsent,
    shared::Shared,
    snapshot::{Member, Snapshot, Wish},
    stats::Stats,
    tried::Tried,
};

/// How often one request may come back unsent before the caller is told.
const HAND_BACKS: u8 = 8;

/// Response of [`Balance`](crate::Balance).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Req>, Req, P: Policy, T> {
    #[pin]
    state: State<S, Req, P, T>,
    /// Names endpoint and attempt to whoever listens; nearly always nobody does.
    span: Option<Box<Span>>,
}

#[pin_project(project = StateProject)]
enum State<S: Service<Req>, Req, P: Policy, T> {
    /// An endpoint has the request.
    Calling {
        #[pin]
        future: S::Future,
        call: Option<InFlight>,
    },
    /// Nobody could take it yet. Off the usual path, so it may have an allocation of its own.
    Searching(Box<Search<S, Req, P, T>>),
}

impl<S, Req, P, T> ResponseFuture<S, Req, P, T>
where
    S: Service<Req> + Clone,
    P: Policy,
    T: Protocol<Req, S::Response>,
{
    /// Sends `request` to an endpoint at once if one is ready.
    #[inline]
    pub(crate) fn new(
        shared: &Arc<Shared<S, P, T>>,
        snapshot: &Snapshot<S, P>,
        request: Req,
        chance: &Chance,
    ) -> Self {
        let started = shared.now();
        let tried = shared.protocol.tried(&request);
        let probe = if !snapshot.half_open.is_empty() && shared.protocol.may_probe(&request) {
            probe(shared, snapshot, &request, started, chance)
        } else {
            None
        };
        let probes = probe.is_some();
        let picked = probe.or_else(|| {
            let protocol = &shared.protocol;
            let (hash, parts) = (protocol.hash(&request), protocol.parts(&request));
            let wish = Wish { tried, avoid: None, hash, now: started, parts };
            snapshot.pick(&shared.policy, &wish, chance, &shared.fallbacks)
        });
        let Some((endpoint, service)) = picked else { return Self::search(shared, request, chance) };
        let stats = endpoint.stats();
        let permit = probes.then_some(Permit(stats));
        let mut service = service.clone();
        // Nobody is there to be woken yet: a service that is not ready is asked again by the search.
        if let Poll::Ready(Ok(())) = service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            let sending = Sending::start(stats, started, probes);
            mem::forget(permit);
            if tried.is_some_and(|tried| !tried.add(stats.serial())) {
                shared.fallbacks.count(Marks::TRIED);
            }
            shared.protocol.sent(&request, endpoint);
            let span = attempt(shared, endpoint, tried);
            let future = within(span.as_deref(), || service.call(request));
            return Self { state: State::Calling { future, call: Some(sending.sent(0)) }, span };
        }
        drop(permit);
        stats.lost();
        Self::search(shared, request, chance)
    }

    #[cold]
    fn search(shared: &Arc<Shared<S, P, T>>, request: Req, chance: &Chance) -> Self {
        let search = Search::new(shared.clone(), request, chance.clone());
        Self { state: State::Searching(Box::new(search)), span: None }
    }
}

impl<S, Req, P, T> Future for ResponseFuture<S, Req, P, T>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    P: Policy,
    T: Protocol<Req, S::Response>,
    Req: Send + 'static,
{
    type Output = Result<T::Response, BoxError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        match this.state.project() {
            StateProject::Calling { future, call } if this.span.is_none() => match ready!(future.poll(cx)) {
                Ok(response) => answer::<S, Req, T>(response, call),
                Err(error) => self.failed(error.into(), cx),
            },
            _ => self.poll_step(cx),
        }
    }
}

impl<S, Req, P, T> ResponseFuture<S, Req, P, T>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    P: Policy,
    T: Protocol<Req, S::Response>,
    Req: Send + 'static,
{
    /// Goes on with a request that somebody follows, or that nobody has taken yet.
    #[inline(never)]
    fn poll_step(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T::Response, BoxError>> {
        loop {
            let this = self.as_mut().project();
            let entered = this.span.as_deref().map(Span::enter);
            let search = match this.state.project() {
                StateProject::Calling { future, call } => match ready!(future.poll(cx)) {
                    Ok(response) => return answer::<S, Req, T>(response, call),
                    Err(error) => {
                        drop(entered);
                        return self.failed(error.into(), cx);
                    }
                },
                StateProject::Searching(search) => search,
            };
            let (endpoint, mut service, request) = ready!(search.poll(cx))?;
            let shared = search.shared();
            let sending = Sending::start(endpoint.stats(), shared.now(), false);
            shared.protocol.sent(&request, &endpoint);
            let span = attempt(shared, &endpoint, shared.protocol.tried(&request));
            let future = within(span.as_deref(), || service.call(request));
            let call = Some(sending.sent(search.hand_backs()));
            drop(entered);
            self.set(Self { state: State::Calling { future, call }, span });
        }
    }

    /// Sends a request elsewhere if `error` brings it back; records the failure if not.
    #[cold]
    fn failed(
        mut self: Pin<&mut Self>,
        error: BoxError,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T::Response, BoxError>> {
        let StateProject::Calling { call, .. } = self.as_mut().project().state.project() else {
            return Poll::Ready(Err(error));
        };
        let search = handed_back(error, call.take())?;
        self.set(Self { state: State::Searching(Box::new(search)), span: None });
        self.poll_step(cx)
    }
}

/// The permit of a half-open endpoint until the request is counted, given back even where its service panics.
struct Permit<'a>(&'a Stats);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.release_probe();
    }
}

/// The endpoint that the request is to find out about, if there is one.
#[cold]
fn probe<'a, S, Req, P, T>(
    shared: &Shared<S, P, T>,
    snapshot: &'a Snapshot<S, P>,
    request: &Req,
    now: Option<Moment>,
    chance: &Chance,
) -> Option<Member<'a, S>>
where
    S: Service<Req>,
    P: Policy,
    T: Protocol<Req, S::Response>,
{
    let protocol = &shared.protocol;
    let (tried, hash, parts) = (protocol.tried(request), protocol.hash(request), protocol.parts(request));
    snapshot.probe(&shared.policy, Wish { tried, avoid: None, hash, now, parts }, chance)
}

/// What the caller gets; once, as a future that gave its answer is not polled again.
#[inline]
fn answer<S: Service<Req>, Req, T: Protocol<Req, S::Response>>(
    response: S::Response,
    call: &mut Option<InFlight>,
) -> Poll<Result<T::Response, BoxError>> {
    match call.take() {
        Some(call) => Poll::Ready(Ok(T::respond(response, call))),
        None => Poll::Pending,
    }
}

/// Makes a call within `span`, if there is one.
#[inline]
fn within<F>(span: Option<&Span>, call: impl FnOnce() -> F) -> F {
    match span {
        None => call(),
        Some(span) => span.in_scope(call),
    }
}

/// The span of one attempt, if anybody wants to see it.
#[inline]
fn attempt<S, P: Policy, T>(
    shared: &Shared<S, P, T>,
    endpoint: &Endpoint,
    tried: Option<&Tried>,
) -> Option<Box<Span>> {
    // Most often nobody wants any, which one number tells.
    if tracing::Level::DEBUG > tracing::level_filters::LevelFilter::current() {
        return None;
    }
    wanted(shared.name.as_deref(), endpoint, tried)
}

#[cold]
fn wanted(service: Option<&str>, endpoint: &Endpoint, tried: Option<&Tried>) -> Option<Box<Span>> {
    // With tracing's feature `log`, a span that nobody wants costs more than the pick.
    if !tracing::span_enabled!(tracing::Level::DEBUG) {
        return None;
    }
    Some(Box::new(tracing::debug_span!(
        "attempt",
        service,
        endpoint = endpoint.id(),
        attempt = tried.map_or(1, |tried| tried.len().max(1)),
    )))
}

/// Prepares to send a request elsewhere if `error` brings it back; records the failure if not.
#[cold]
fn handed_back<S, Req, P, T>(
    error: BoxError,
    call: Option<InFlight>,
) -> Result<Search<S, Req, P, T>, BoxError>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    P: Policy,
    T: Protocol<Req, S::Response>,
    Req: Send + 'static,
{
    let Some(mut call) = call else { return Err(error) };
    let (request, why) = match Unsent::<Req>::take(error) {
        Ok(back) => back,
        Err(error) => {
            // Of what the caller broke off the endpoint has the least fault.
            match cause::<BrokenBody>(error.as_ref()) {
                Some(_) => call.handed_back(),
                None => call.settle(Outcome::BROKEN),
            }
            return Err(error);
        }
    };
    match call.stats().home::<Shared<S, P, T>>() {
        Some(shared) if call.hand_backs() < HAND_BACKS => {
            let (serial, seed) = (call.stats().serial(), call.stats().picks());
            let chance = Chance::new(seed ^ serial.rotate_left(32));
            let search = Search::new(shared, request, chance).handed_back(serial, call.hand_backs() + 1);
            call.handed_back();
            Ok(search)
        }
        _ => {
            call.settle(Outcome::BROKEN);
            Err(why.into())
        }
    }
}

impl<S: Service<Req>, Req, P: Policy, T> fmt::Debug for ResponseFuture<S, Req, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
