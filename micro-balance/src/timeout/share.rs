//! The limit on an attempt that leaves as much time for each of those after it.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use super::layer::{ResponseFuture, Timeout, TimeoutLayer};

/// No attempt gets less, however little is left.
const FLOOR: Duration = Duration::from_millis(10);

/// How long an attempt may take; a retry layer puts it into the extensions of each it can make another after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeShare(Duration);

impl TimeShare {
    /// What each of so many `attempts` has of the time that is `left`.
    pub(crate) fn of(left: Duration, attempts: u32) -> Self {
        Self((left / attempts).max(FLOOR))
    }
}

impl TimeoutLayer {
    /// Limits an attempt also to its share of the call's time, where a retry layer around this one gives it one, see
    /// [`RetryLayer::share_time`](crate::retry::RetryLayer::share_time).
    pub fn shared(self) -> SharedTimeoutLayer {
        SharedTimeoutLayer(self)
    }
}

/// Wraps services in [`SharedTimeout`]. Made by [`TimeoutLayer::shared`].
///
/// ```
/// use std::time::Duration;
/// use micro_balance::{retry::RetryLayer, timeout::TimeoutLayer};
/// use tower::ServiceBuilder;
///
/// // Of a call's three seconds each attempt may take one; of what then is left, each of the last two a half.
/// let client = ServiceBuilder::new()
///     .layer(RetryLayer::new().attempts(3).share_time())
///     .layer(TimeoutLayer::per_attempt(Duration::MAX).shared());
/// # let _ = client;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SharedTimeoutLayer(TimeoutLayer);

impl<S> Layer<S> for SharedTimeoutLayer {
    type Service = SharedTimeout<S>;

    fn layer(&self, inner: S) -> SharedTimeout<S> {
        SharedTimeout(self.0.layer(inner))
    }
}

/// Answers [`Elapsed`](super::Elapsed) when an attempt has used up its limit, or its share of the call's time; after the last
/// [`Progress`](super::Progress) of its request, where that has any.
#[derive(Clone, Copy, Debug)]
pub struct SharedTimeout<S>(Timeout<S>);

impl<S, B> Service<Request<B>> for SharedTimeout<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let share = request.extensions().get().map_or(Duration::MAX, |TimeShare(share)| *share);
        self.0.call_within(share, request, |request| request.extensions().get().cloned())
    }
}
