//! Tells the server of each attempt how much time is left, and the caller which attempt it was that failed.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::Request;
use micro_balance::{Tried, grpc_timeout};
use pin_project::pin_project;
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use super::{Deadline, client::GRPC_TIMEOUT, expired::Expired};
use crate::error::Error;

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
/// sends nothing. An [`Error`] of an attempt after the first says which it was.
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
                return AttemptFuture { inner: None, before: 0 };
            }
            request.headers_mut().insert(GRPC_TIMEOUT, grpc_timeout::encode(left));
        }
        let before = request.extensions().get::<Tried>().map_or(0, Tried::len);
        AttemptFuture { inner: Some(self.inner.call(request)), before }
    }
}

/// Response of [`AttemptDeadline`].
#[pin_project]
#[derive(Debug)]
pub struct AttemptFuture<F> {
    /// `None` when there was no time left.
    #[pin]
    inner: Option<F>,
    /// How many endpoints the request had been sent to before.
    before: usize,
}

impl<F, T, E> Future for AttemptFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let before = *this.before;
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll(cx).map_err(|error| numbered(error.into(), before)),
            None => Poll::Ready(Err(Expired::before_sending().into())),
        }
    }
}

/// Says in `error` which attempt it was, after so many `before` it.
fn numbered(error: BoxError, before: usize) -> BoxError {
    match error.downcast::<Error>() {
        Ok(error) if before > 0 => error.attempt(before as u32 + 1).into(),
        Ok(error) => error,
        Err(error) => error,
    }
}
