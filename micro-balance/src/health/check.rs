//! How an endpoint is asked.

use std::sync::Arc;

use futures_util::{future::BoxFuture, stream::BoxStream};
use http::HeaderName;
use tower::BoxError;

use crate::condition::Condition;

/// By which header an answer says that the endpoint is degraded, as Envoy has it.
pub(super) const DEGRADED: HeaderName = HeaderName::from_static("x-envoy-degraded");

/// A way to ask an endpoint, by its service `S`, whether it is well.
///
/// Any `Fn(S) -> Future<Output = Result<(), BoxError>>` is one that asks from time to time; a [`Condition`] in place of `()`
/// says more.
pub trait Check<S>: Send + Sync + 'static {
    /// Asks once. The service may not be ready yet; an error, or no answer in time, counts against the endpoint, and
    /// what it says of itself counts at once.
    fn ask(&self, service: S) -> BoxFuture<'static, Result<Condition, BoxError>>;

    /// Follows what the endpoint says of itself, where its protocol pushes that. Each word counts at once, and
    /// the end of the stream means that the endpoint is not well. `None` asks from time to time instead.
    fn follow(&self, service: S) -> Option<BoxStream<'static, Result<Condition, BoxError>>> {
        drop(service);
        None
    }
}

impl<S, C: Check<S> + ?Sized> Check<S> for Arc<C> {
    fn ask(&self, service: S) -> BoxFuture<'static, Result<Condition, BoxError>> {
        C::ask(self, service)
    }

    fn follow(&self, service: S) -> Option<BoxStream<'static, Result<Condition, BoxError>>> {
        C::follow(self, service)
    }
}

impl<S, F, R, C> Check<S> for F
where
    F: Fn(S) -> R + Send + Sync + 'static,
    R: Future<Output = Result<C, BoxError>> + Send + 'static,
    C: Into<Condition>,
{
    fn ask(&self, service: S) -> BoxFuture<'static, Result<Condition, BoxError>> {
        let answer = self(service);
        Box::pin(async move { answer.await.map(Into::into) })
    }
}
