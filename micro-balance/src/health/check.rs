//! How an endpoint is asked.

use std::sync::Arc;

use futures_util::{future::BoxFuture, stream::BoxStream};
use tower::BoxError;

/// A way to ask an endpoint, by its service `S`, whether it is well.
///
/// Any `Fn(S) -> Future<Output = Result<(), BoxError>>` is one that asks from time to time.
pub trait Check<S>: Send + Sync + 'static {
    /// Asks once. The service may not be ready yet; an error, or no answer in time, means that the endpoint is
    /// not well.
    fn ask(&self, service: S) -> BoxFuture<'static, Result<(), BoxError>>;

    /// Follows what the endpoint says of itself, where its protocol pushes that. Each word counts at once, and
    /// the end of the stream means that the endpoint is not well. `None` asks from time to time instead.
    fn follow(&self, service: S) -> Option<BoxStream<'static, Result<bool, BoxError>>> {
        drop(service);
        None
    }
}

impl<S, C: Check<S> + ?Sized> Check<S> for Arc<C> {
    fn ask(&self, service: S) -> BoxFuture<'static, Result<(), BoxError>> {
        C::ask(self, service)
    }

    fn follow(&self, service: S) -> Option<BoxStream<'static, Result<bool, BoxError>>> {
        C::follow(self, service)
    }
}

impl<S, F, R> Check<S> for F
where
    F: Fn(S) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    fn ask(&self, service: S) -> BoxFuture<'static, Result<(), BoxError>> {
        Box::pin(self(service))
    }
}
