//! Makes every error of a server an answer.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use micro_balance::classify::is_grpc;
use pin_project::pin_project;
use tonic::server::NamedService;
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use super::{grpc, http};

/// Wraps servers in [`AnswerErrors`].
///
/// ```
/// use micro_balance::limit::LimitLayer;
/// use micro_tower::status::AnswerErrorsLayer;
/// use tower::ServiceBuilder;
///
/// // For axum's `Router::layer`, tonic's `Server::layer`, one of its services, or a service of hyper's.
/// let layers = ServiceBuilder::new().layer(AnswerErrorsLayer).layer(LimitLayer::new(100).http());
/// # let _ = layers;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AnswerErrorsLayer;

impl<S> Layer<S> for AnswerErrorsLayer {
    type Service = AnswerErrors<S>;

    fn layer(&self, inner: S) -> AnswerErrors<S> {
        AnswerErrors { inner, unready: None }
    }
}

/// Answers what its inner layers turn away or give up: gRPC with the status of [`grpc`](super::grpc), HTTP with the code of
/// [`http`](super::http) and an empty body. Without it such a request has no answer, and its stream or connection breaks.
///
/// Goes around layers that fail, such as limits and timeouts. Not needed in a [`Server`](crate::Server), which has it.
#[derive(Debug)]
pub struct AnswerErrors<S> {
    inner: S,
    /// Why it was not ready, for the request that comes next.
    unready: Option<BoxError>,
}

impl<S: Clone> Clone for AnswerErrors<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), unready: None }
    }
}

impl<S: NamedService> NamedService for AnswerErrors<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B, C> Service<Request<B>> for AnswerErrors<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<AnswerBody<C>>;
    type Error = Infallible;
    type Future = AnswerFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.unready = ready!(self.inner.poll_ready(cx)).err().map(Into::into);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let grpc = is_grpc(request.headers());
        match self.unready.take() {
            Some(error) => AnswerFuture { inner: None, unready: Some(error), grpc },
            None => AnswerFuture { inner: Some(self.inner.call(request)), unready: None, grpc },
        }
    }
}

/// Response of [`AnswerErrors`].
#[pin_project]
#[derive(Debug)]
pub struct AnswerFuture<F> {
    /// `None` when the service was not ready.
    #[pin]
    inner: Option<F>,
    unready: Option<BoxError>,
    grpc: bool,
}

impl<F, C, E> Future for AnswerFuture<F>
where
    F: Future<Output = Result<Response<C>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<AnswerBody<C>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let error = match this.inner.as_pin_mut() {
            Some(inner) => match ready!(inner.poll(cx)) {
                Ok(response) => {
                    return Poll::Ready(Ok(response.map(|inner| AnswerBody { inner: Some(inner) })));
                }
                Err(error) => error.into(),
            },
            None => this.unready.take().unwrap_or_else(|| "polled after it was answered".into()),
        };
        tracing::debug!(error, "a request failed");
        Poll::Ready(Ok(answer(error, *this.grpc).map(|()| AnswerBody::default())))
    }
}

fn answer(error: BoxError, as_grpc: bool) -> Response<()> {
    if as_grpc {
        return grpc(error).into_http();
    }
    let mut response = Response::new(());
    *response.status_mut() = http(error.as_ref());
    response
}

/// The body of a response of [`AnswerErrors`].
#[pin_project]
#[derive(Debug)]
pub struct AnswerBody<C> {
    /// `None` in the answer to an error.
    #[pin]
    inner: Option<C>,
}

/// Has nothing in it.
impl<C> Default for AnswerBody<C> {
    fn default() -> Self {
        Self { inner: None }
    }
}

impl<C: Body> Body for AnswerBody<C> {
    type Data = C::Data;
    type Error = C::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<C::Data>, C::Error>>> {
        self.project().inner.as_pin_mut().map_or(Poll::Ready(None), |inner| inner.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
