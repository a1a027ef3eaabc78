//! The limit on the time until an answer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::Instant;
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    elapsed::{Elapsed, Phase},
    progress::{Lapse, Progress},
};
use crate::{
    last_words::{Words, hear},
    sent::NotSent,
};

/// Wraps services in [`Timeout`].
///
/// ```
/// use std::time::Duration;
/// use micro_balance::{retry::RetryLayer, timeout::TimeoutLayer};
/// use tower::ServiceBuilder;
///
/// let client = ServiceBuilder::new()
///     .layer(TimeoutLayer::per_call(Duration::from_secs(5)))
///     .layer(RetryLayer::new())
///     .layer(TimeoutLayer::per_attempt(Duration::from_secs(1)));
/// # let _ = client;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TimeoutLayer {
    phase: Phase,
    limit: Duration,
}

impl TimeoutLayer {
    /// Limits a call with all its attempts: goes around a retry layer. [`Duration::MAX`] is no limit.
    pub fn per_call(limit: Duration) -> Self {
        Self { phase: Phase::Call, limit }
    }

    /// Limits each attempt of a call: goes inside a retry layer, which repeats what may be repeated. One that found no
    /// endpoint ready, and of a request that has been to none, is [`NotSent`], and may be repeated whatever it does.
    pub fn per_attempt(limit: Duration) -> Self {
        Self { phase: Phase::Attempt, limit }
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Timeout<S> {
        Timeout { inner, settings: *self }
    }
}

/// Answers [`Elapsed`] when the inner service takes too long. Made by [`TimeoutLayer`].
///
/// The time runs from the call to the response, not to the end of its body; the inner future is dropped when
/// it is over.
#[derive(Clone, Copy, Debug)]
pub struct Timeout<S> {
    inner: S,
    settings: TimeoutLayer,
}

impl<S, Req> Service<Req> for Timeout<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        self.call_within(Duration::MAX, request, |_| None)
    }
}

impl<S> Timeout<S> {
    /// Calls the service, and waits for `limit` at most, if that is less than usual; from when the request came on last, where
    /// `progress` says that.
    pub(super) fn call_within<Req>(
        &mut self,
        limit: Duration,
        request: Req,
        progress: impl FnOnce(&Req) -> Option<Progress>,
    ) -> ResponseFuture<S::Future>
    where
        S: Service<Req>,
    {
        let settings = TimeoutLayer { limit: limit.min(self.settings.limit), ..self.settings };
        // Where there is no limit, nobody looks at the clock.
        let began = (settings.limit < Duration::MAX).then(Instant::now);
        let progress = began.and_then(|began| Some((began, progress(&request)?)));
        let lapse =
            progress.map(|(began, progress)| Box::pin(Lapse::new(began, settings.limit, Some(progress))));
        ResponseFuture { inner: Some(self.inner.call(request)), began, lapse, settings }
    }
}

/// Response of [`Timeout`].
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F> {
    /// `None` after the time has passed.
    #[pin]
    inner: Option<F>,
    began: Option<Instant>,
    /// Starts when there is something to wait for: an answer that is there at once costs no timer. In a box, as most have
    /// none, and this is moved through each layer above.
    lapse: Option<Pin<Box<Lapse>>>,
    settings: TimeoutLayer,
}

impl<F, T, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let limit = this.settings.limit;
        // The answer goes first: a response ready at the last moment is a response.
        if let Some(Poll::Ready(result)) = this.inner.as_mut().as_pin_mut().map(|inner| inner.poll(cx)) {
            return Poll::Ready(result.map_err(Into::into));
        }
        let Some(began) = *this.began else { return Poll::Pending };
        let lapse = this.lapse.get_or_insert_with(|| Box::pin(Lapse::new(began, limit, None)));
        ready!(lapse.as_mut().poll(cx));
        let words = hear(|| this.inner.set(None));
        Poll::Ready(Err(elapsed(this.settings.phase, limit, words)))
    }
}

/// What took too long. An attempt that found nobody to take it may be made again, whatever it does.
fn elapsed(phase: Phase, limit: Duration, words: Option<Words>) -> BoxError {
    let unsent = phase == Phase::Attempt && words.as_ref().is_some_and(|words| words.unsent);
    let elapsed = Elapsed::new(phase, limit).waited_for(words.map(|words| words.text));
    if unsent { NotSent::new(elapsed).into() } else { elapsed.into() }
}
