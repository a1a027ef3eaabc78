//! Hands out as streams the answers that are no single message.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::future::{Either, Ready, ready};
use http::{Request, Response};
use tonic::body::Body;
use tower::BoxError;
use tower_service::Service;

use super::Calls;
use crate::pipe::call::FETCH;

/// Gives answers that were kept to whoever fetches them, and leaves all else to the served service.
#[derive(Clone)]
pub(in crate::server) struct Fetching<S> {
    inner: S,
    calls: Option<Calls>,
}

impl<S> Fetching<S> {
    pub(in crate::server) fn new(inner: S, calls: Option<Calls>) -> Self {
        Self { inner, calls }
    }
}

impl<S, B> Service<Request<B>> for Fetching<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = BoxError>,
{
    type Response = Response<Body>;
    type Error = BoxError;
    /// The first in a box, as it is large and seldom.
    type Future = Either<Pin<Box<Ready<Result<Response<Body>, BoxError>>>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match &self.calls {
            Some(calls) if request.method().as_str().as_bytes() == FETCH => {
                let id = request.uri().path().trim_start_matches('/').parse().ok();
                let kept = id.and_then(|id| calls.fetch(id));
                Either::Left(Box::pin(ready(kept.ok_or_else(|| "there is no such answer".into()))))
            }
            _ => Either::Right(self.inner.call(request)),
        }
    }
}
