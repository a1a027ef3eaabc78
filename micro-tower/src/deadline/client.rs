//! Gives every call of a client its deadline.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderName, Request, Response};
use micro_balance::{grpc_timeout, last_words};
use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Deadline,
    body::{DeadlineBody, Late},
    expired::Expired,
};
use crate::error::Error;

pub(super) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Wraps clients in [`ClientDeadline`].
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct DeadlineLayer {
    timeout: Option<Duration>,
}

impl DeadlineLayer {
    /// Keeps the deadlines that calls come with, and gives none to others.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives every call `timeout` at most.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = ClientDeadline<S>;

    fn layer(&self, inner: S) -> ClientDeadline<S> {
        ClientDeadline { inner, timeout: self.timeout }
    }
}

/// Answers [`Expired`] instead of waiting past a call's deadline, and drops the call.
///
/// The deadline is the earliest of: the one this task works under, the one in the request's extensions,
/// `grpc-timeout` in its headers, as tonic's `set_timeout` puts there, and the layer's timeout. It holds to
/// the end of the response's body. When it has passed already, nothing is sent.
#[derive(Clone, Copy, Debug)]
pub struct ClientDeadline<S> {
    inner: S,
    timeout: Option<Duration>,
}

impl<S> ClientDeadline<S> {
    /// When `request` begins and has to end, if it has to; an error if that has passed.
    fn deadline<B>(&self, request: &Request<B>) -> Result<Option<(Instant, Deadline)>, ()> {
        let given = Deadline::current().into_iter().chain(Deadline::of(request)).min();
        let asked = request.headers().get(GRPC_TIMEOUT).and_then(grpc_timeout::decode);
        let own = asked.into_iter().chain(self.timeout).min();
        if given.is_none() && own.is_none() {
            return Ok(None);
        }
        let now = Instant::now();
        let own = own.map(|own| Deadline::after_from(now, own));
        match given.into_iter().chain(own).min() {
            Some(deadline) if deadline.instant() <= now => Err(()),
            deadline => Ok(deadline.map(|deadline| (now, deadline))),
        }
    }
}

impl<S, B, C> Service<Request<B>> for ClientDeadline<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<DeadlineBody<C>>;
    type Error = BoxError;
    type Future = ClientFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.deadline(&request) {
            Ok(times) => {
                let inner = Deadline::enter(times.map(|(_, deadline)| deadline), || self.inner.call(request));
                ClientFuture { inner: Some(inner), times, sleep: None }
            }
            Err(()) => ClientFuture { inner: None, times: None, sleep: None },
        }
    }
}

/// Response of [`ClientDeadline`].
#[pin_project]
#[derive(Debug)]
pub struct ClientFuture<F> {
    /// `None` when the deadline has passed.
    #[pin]
    inner: Option<F>,
    /// When the call began, and its deadline.
    times: Option<(Instant, Deadline)>,
    /// Made when there is something to wait for. In a box, as most have no deadline, and this is moved through each layer
    /// above.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<F, C, E> Future for ClientFuture<F>
where
    F: Future<Output = Result<Response<C>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<DeadlineBody<C>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(Err(Expired::before_sending().into()));
        };
        let deadline = this.times.map(|(_, deadline)| deadline);
        // The answer goes first: a response ready at the deadline is a response.
        if let Poll::Ready(result) = Deadline::enter(deadline, || inner.poll(cx)) {
            let body = |body| DeadlineBody::new(body, deadline, Late::Error);
            let began = this.times.map(|(began, _)| began);
            return Poll::Ready(match result {
                Ok(response) => Ok(response.map(body)),
                Err(error) => Err(timed(error.into(), began)),
            });
        }
        let Some(deadline) = deadline else { return Poll::Pending };
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline.instant())));
        if sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let waited_for = last_words(|| this.inner.set(None));
        Poll::Ready(Err(Expired::waiting_for(waited_for).into()))
    }
}

/// Says in `error` how long the caller had waited.
fn timed(error: BoxError, began: Option<Instant>) -> BoxError {
    match (began, error.downcast::<Error>()) {
        (Some(began), Ok(error)) => error.elapsed(began.elapsed()).into(),
        (None, Ok(error)) => error,
        (_, Err(error)) => error,
    }
}
