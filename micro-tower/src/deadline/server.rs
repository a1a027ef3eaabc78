//! Keeps a server's handlers to the deadlines of their callers.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use micro_balance::{classify::is_grpc, grpc_timeout};
use pin_project::pin_project;
use tokio::time::{Sleep, sleep_until};
use tonic::{Status, server::NamedService};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Deadline,
    body::{DeadlineBody, Late},
    client::GRPC_TIMEOUT,
};

/// Wraps servers in [`ServerDeadline`].
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct ServerDeadlineLayer {
    timeout: Option<Duration>,
}

impl ServerDeadlineLayer {
    /// Keeps the deadlines that requests come with, and gives none to others.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives every request `timeout` at most.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl<S> Layer<S> for ServerDeadlineLayer {
    type Service = ServerDeadline<S>;

    fn layer(&self, inner: S) -> ServerDeadline<S> {
        ServerDeadline { inner, timeout: self.timeout }
    }
}

/// Handles each request under the deadline its `grpc-timeout` says, and no longer.
///
/// The handler finds the deadline in the request's extensions; what it calls inherits it. When it passes, the
/// handler is dropped and the caller is told: DEADLINE_EXCEEDED in gRPC, also at the end of a stream, and 504
/// in HTTP. A `grpc-timeout` that cannot be read is refused.
#[derive(Clone, Copy, Debug)]
pub struct ServerDeadline<S> {
    inner: S,
    timeout: Option<Duration>,
}

impl<S: NamedService> NamedService for ServerDeadline<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B, C> Service<Request<B>> for ServerDeadline<S>
where
    S: Service<Request<B>, Response = Response<C>>,
{
    type Response = Response<DeadlineBody<C>>;
    type Error = S::Error;
    type Future = ServerFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let grpc = is_grpc(request.headers());
        let mut future = ServerFuture { inner: None, deadline: None, sleep: None, grpc, refused: None };
        let asked = match request.headers().get(GRPC_TIMEOUT).map(grpc_timeout::decode) {
            Some(None) => {
                future.refused = Some(Status::internal("malformed grpc-timeout"));
                return future;
            }
            asked => asked.flatten(),
        };
        if let Some(timeout) = asked.into_iter().chain(self.timeout).min() {
            let deadline = Deadline::after(timeout);
            request.extensions_mut().insert(deadline);
            future.deadline = Some(deadline);
        }
        if !future.deadline.is_some_and(Deadline::has_passed) {
            future.inner = Some(Deadline::enter(future.deadline, || self.inner.call(request)));
        }
        future
    }
}

/// Response of [`ServerDeadline`].
#[pin_project]
#[derive(Debug)]
pub struct ServerFuture<F> {
    /// `None` when the deadline has passed, or the request was refused.
    #[pin]
    inner: Option<F>,
    deadline: Option<Deadline>,
    #[pin]
    sleep: Option<Sleep>,
    grpc: bool,
    refused: Option<Status>,
}

impl<F, C, E> Future for ServerFuture<F>
where
    F: Future<Output = Result<Response<C>, E>>,
{
    type Output = Result<Response<DeadlineBody<C>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(inner) = this.inner.as_mut().as_pin_mut() {
            let (deadline, grpc) = (*this.deadline, *this.grpc);
            // The answer goes first: a response ready at the deadline is a response.
            if let Poll::Ready(result) = Deadline::enter(deadline, || inner.poll(cx)) {
                let late = if grpc { Late::Trailers } else { Late::Error };
                let body = |body| DeadlineBody::new(body, deadline, late);
                return Poll::Ready(result.map(|response| response.map(body)));
            }
            let Some(deadline) = deadline else { return Poll::Pending };
            if this.sleep.is_none() {
                this.sleep.set(Some(sleep_until(deadline.instant())));
            }
            let Some(sleep) = this.sleep.as_mut().as_pin_mut() else { return Poll::Pending };
            if sleep.poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.inner.set(None);
        }
        let late = || (Status::deadline_exceeded("the deadline has passed"), StatusCode::GATEWAY_TIMEOUT);
        let (status, code) =
            this.refused.take().map_or_else(late, |refused| (refused, StatusCode::BAD_REQUEST));
        let response = if *this.grpc { status.into_http::<()>() } else { Response::default() };
        let mut response = response.map(|()| DeadlineBody::default());
        if !*this.grpc {
            *response.status_mut() = code;
        }
        Poll::Ready(Ok(response))
    }
}
