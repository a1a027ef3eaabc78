//! The service that turns requests away.

use std::task::{Context, Poll};

use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use super::{Counted, ResponseFuture, ThrottleLayer};
use crate::{
    answer::Answer,
    overload::{Overloaded, Reason},
    protocol::Opaque,
    sent::Unsent,
};

impl<S, T: Clone> Layer<S> for ThrottleLayer<T> {
    type Service = Throttle<S, T>;

    fn layer(&self, inner: S) -> Throttle<S, T> {
        Throttle { inner, layer: self.clone() }
    }
}

/// Turns requests away in proportion to those the service turns away. Made by [`ThrottleLayer`].
#[derive(Clone, Debug)]
pub struct Throttle<S, T = Opaque> {
    inner: S,
    layer: ThrottleLayer<T>,
}

impl<S, Req, T> Service<Req> for Throttle<S, T>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    Req: Send + 'static,
    T: Answer<S::Response>,
{
    type Response = T::Held<Option<Counted>>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let ThrottleLayer { counts, answer, rule, .. } = &self.layer;
        let answer = answer.clone();
        if self.layer.admit() {
            let counted = Counted::new(counts.clone(), rule.success);
            return ResponseFuture::calling(self.inner.call(request), counted, answer);
        }
        let error = Unsent::new(request, Overloaded(Reason::Throttled));
        ResponseFuture::rejected(error.into(), answer)
    }
}
