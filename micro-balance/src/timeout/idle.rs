//! The limit on pauses in a response.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep};
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use super::elapsed::{Elapsed, Phase};

/// Wraps services in [`IdleTimeout`].
///
/// ```
/// use std::time::Duration;
/// use micro_balance::timeout::IdleTimeoutLayer;
///
/// let layer = IdleTimeoutLayer::new(Duration::from_secs(30));
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct IdleTimeoutLayer {
    limit: Duration,
}

impl IdleTimeoutLayer {
    /// Ends responses that pause for longer than `limit`, which counts as thirty years at most.
    pub fn new(limit: Duration) -> Self {
        Self { limit: limit.min(Duration::from_secs(30 * 365 * 86_400)) }
    }
}

impl<S> Layer<S> for IdleTimeoutLayer {
    type Service = IdleTimeout<S>;

    fn layer(&self, inner: S) -> IdleTimeout<S> {
        IdleTimeout { inner, limit: self.limit }
    }
}

/// Ends the body of a response with [`Elapsed`] when nothing of it comes for too long. Made by
/// [`IdleTimeoutLayer`].
///
/// Only the time somebody waits for the body counts, and a stream may last for as long as it goes on. The
/// time to the head of the response is what [`Timeout`](super::Timeout) limits.
#[derive(Clone, Copy, Debug)]
pub struct IdleTimeout<S> {
    inner: S,
    limit: Duration,
}

impl<S, B, C> Service<Request<B>> for IdleTimeout<S>
where
    S: Service<Request<B>, Response = Response<C>>,
{
    type Response = Response<IdleBody<C>>;
    type Error = S::Error;
    type Future = IdleFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        IdleFuture { inner: self.inner.call(request), limit: self.limit }
    }
}

/// Response of [`IdleTimeout`].
#[pin_project]
#[derive(Debug)]
pub struct IdleFuture<F> {
    #[pin]
    inner: F,
    limit: Duration,
}

impl<F, C, E> Future for IdleFuture<F>
where
    F: Future<Output = Result<Response<C>, E>>,
{
    type Output = Result<Response<IdleBody<C>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let limit = *this.limit;
        let response = ready!(this.inner.poll(cx))?;
        Poll::Ready(Ok(response.map(|inner| IdleBody {
            inner: Some(inner),
            limit,
            sleep: None,
            pausing: false,
        })))
    }
}

/// A body that ends with [`Elapsed`] when it pauses for too long.
#[pin_project]
#[derive(Debug)]
pub struct IdleBody<C> {
    /// `None` after the time has passed.
    #[pin]
    inner: Option<C>,
    limit: Duration,
    /// Boxed at the first pause, so that the body can be moved, as layers outside may ask; then used again.
    sleep: Option<Pin<Box<Sleep>>>,
    /// Somebody waits for a frame, and the sleep runs.
    pausing: bool,
}

/// Has nothing to wait for.
impl<C> Default for IdleBody<C> {
    fn default() -> Self {
        Self { inner: None, limit: Duration::MAX, sleep: None, pausing: false }
    }
}

impl<C> Body for IdleBody<C>
where
    C: Body,
    C::Error: Into<BoxError>,
{
    type Data = C::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<C::Data>, BoxError>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = inner.poll_frame(cx) {
            *this.pausing = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let limit = *this.limit;
        let asleep = this.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !std::mem::replace(this.pausing, true) {
            asleep.as_mut().reset(Instant::now() + limit);
        }
        ready!(asleep.as_mut().poll(cx));
        // Dropped now, so that the stream is reset while the caller still reads the error.
        this.inner.set(None);
        Poll::Ready(Some(Err(Elapsed::new(Phase::Pause, limit).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}
