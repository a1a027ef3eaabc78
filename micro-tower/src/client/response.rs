//! The future and the body of a client's response: names for long types.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use micro_balance::{
    CountedBody,
    policy::{PeakEwma, Policy},
    retry::PeekBody,
};
use pin_project::pin_project;
use tower::BoxError;
use tower_service::Service;

use super::Path;
use crate::{deadline::DeadlineBody, status::GrpcErrorsBody, transport};

/// Response of a [`Client`](super::Client). Dropping it cancels the call.
#[pin_project]
pub struct ResponseFuture<P: Policy = PeakEwma> {
    #[pin]
    inner: <Path<P> as Service<Request<tonic::body::Body>>>::Future,
}

impl<P: Policy> ResponseFuture<P> {
    pub(super) fn new(inner: <Path<P> as Service<Request<tonic::body::Body>>>::Future) -> Self {
        Self { inner }
    }
}

impl<P: Policy> Future for ResponseFuture<P> {
    type Output = Result<Response<ResponseBody>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().inner.poll(cx))?;
        Poll::Ready(Ok(response.map(|inner| ResponseBody { inner })))
    }
}

impl<P: Policy> fmt::Debug for ResponseFuture<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}

/// The body of a [`Client`](super::Client)'s response.
#[pin_project]
#[derive(Debug, Default)]
pub struct ResponseBody {
    #[pin]
    inner: GrpcErrorsBody<DeadlineBody<PeekBody<CountedBody<transport::Body>>>>,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
