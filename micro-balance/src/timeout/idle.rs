//! The limits on a response that has begun: on its pauses, and on all of it.

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
/// let layer = IdleTimeoutLayer::new(Duration::from_secs(30)).lifetime(Duration::from_secs(3_600));
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct IdleTimeoutLayer {
    limits: Limits,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    pause: Duration,
    lifetime: Option<Duration>,
}

/// What counts as no limit.
const THIRTY_YEARS: Duration = Duration::from_secs(30 * 365 * 86_400);

impl IdleTimeoutLayer {
    /// Ends responses that pause for longer than `limit`, which counts as thirty years at most.
    pub fn new(limit: Duration) -> Self {
        Self { limits: Limits { pause: limit.min(THIRTY_YEARS), lifetime: None } }
    }

    /// Ends responses that last longer than `limit` as well, from their head on, whether anybody reads them or not; as long
    /// as they go on unless given.
    #[must_use]
    pub fn lifetime(mut self, limit: Duration) -> Self {
        self.limits.lifetime = Some(limit.min(THIRTY_YEARS));
        self
    }
}

impl<S> Layer<S> for IdleTimeoutLayer {
    type Service = IdleTimeout<S>;

    fn layer(&self, inner: S) -> IdleTimeout<S> {
        IdleTimeout { inner, limits: self.limits }
    }
}

/// Ends the body of a response with [`Elapsed`] when nothing of it comes for too long. Made by
/// [`IdleTimeoutLayer`].
///
/// Only the time somebody waits for the body counts, and a stream may last for as long as it goes on, unless its
/// [lifetime](IdleTimeoutLayer::lifetime) is limited. The time to the head of the response is what [`Timeout`](super::Timeout) limits.
#[derive(Clone, Copy, Debug)]
pub struct IdleTimeout<S> {
    inner: S,
    limits: Limits,
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
        IdleFuture { inner: self.inner.call(request), limits: self.limits }
    }
}

/// Response of [`IdleTimeout`].
#[pin_project]
#[derive(Debug)]
pub struct IdleFuture<F> {
    #[pin]
    inner: F,
    limits: Limits,
}

impl<F, C, E> Future for IdleFuture<F>
where
    F: Future<Output = Result<Response<C>, E>>,
{
    type Output = Result<Response<IdleBody<C>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let limits = *this.limits;
        let response = ready!(this.inner.poll(cx))?;
        let ends = limits.lifetime.map(|limit| Instant::now() + limit);
        Poll::Ready(Ok(response.map(|inner| IdleBody {
            inner: Some(inner),
            limits,
            ends,
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
    limits: Limits,
    /// When all of it has to be over.
    ends: Option<Instant>,
    /// Boxed at the first pause, so that the body can be moved, as layers outside may ask; then used again.
    sleep: Option<Pin<Box<Sleep>>>,
    /// Somebody waits for a frame, and the sleep runs.
    pausing: bool,
}

/// Has nothing to wait for.
impl<C> Default for IdleBody<C> {
    fn default() -> Self {
        let limits = Limits { pause: THIRTY_YEARS, lifetime: None };
        Self { inner: None, limits, ends: None, sleep: None, pausing: false }
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
        let Limits { pause, lifetime } = *this.limits;
        // Before the next frame, as one that never pauses would have no end.
        let is_over = |ends: &Option<Instant>| ends.is_some_and(|ends| ends <= Instant::now());
        if !is_over(this.ends) {
            if let Poll::Ready(frame) = inner.poll_frame(cx) {
                *this.pausing = false;
                return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
            }
            let asleep = this.sleep.get_or_insert_with(|| Box::pin(sleep(pause)));
            if !std::mem::replace(this.pausing, true) {
                let until = Instant::now() + pause;
                asleep.as_mut().reset(this.ends.map_or(until, |ends| ends.min(until)));
            }
            ready!(asleep.as_mut().poll(cx));
        }
        // Dropped now, so that the stream is reset while the caller still reads the error.
        this.inner.set(None);
        let elapsed = match lifetime.filter(|_| is_over(this.ends)) {
            Some(limit) => Elapsed::new(Phase::Response, limit),
            None => Elapsed::new(Phase::Pause, pause),
        };
        Poll::Ready(Some(Err(elapsed.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}
