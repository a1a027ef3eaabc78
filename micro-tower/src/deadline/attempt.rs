//! Tells the server of each attempt how much time is left.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::Request;
use micro_balance::grpc_timeout;
use pin_project::pin_project;
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use super::{Deadline, client::GRPC_TIMEOUT, expired::Expired};

/// Wraps clients in [`AttemptDeadline`].
#[derive(Clone, Copy, Debug, Default)]
pub struct AttemptDeadlineLayer;

impl<S> Layer<S> for AttemptDeadlineLayer {
    type Service = AttemptDeadline<S>;

    fn layer(&self, inner: S) -> AttemptDeadline<S> {
        AttemptDeadline { inner }
    }
}

/// Writes what is left of the current deadline into `grpc-timeout`; when nothing is, answers [`Expired`] and
/// sends nothing.
///
/// Goes inside of a retry layer, as every attempt has less time than the one before. A layer outside of it,
/// [`ClientDeadline`](super::ClientDeadline), sets the deadline.
#[derive(Clone, Copy, Debug)]
pub struct AttemptDeadline<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for AttemptDeadline<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = AttemptFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(deadline) = Deadline::current() {
            let left = deadline.left();
            if left.is_zero() {
                return AttemptFuture { inner: None };
            }
            request.headers_mut().insert(GRPC_TIMEOUT, grpc_timeout::encode(left));
        }
        AttemptFuture { inner: Some(self.inner.call(request)) }
    }
}

/// Response of [`AttemptDeadline`].
#[pin_project]
#[derive(Debug)]
pub struct AttemptFuture<F> {
    /// `None` when there was no time left.
    #[pin]
    inner: Option<F>,
}

impl<F, T, E> Future for AttemptFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().inner.as_pin_mut() {
            Some(inner) => inner.poll(cx).map_err(Into::into),
            None => Poll::Ready(Err(Expired::before_sending().into())),
        }
    }
}
