//! One error below others.

use std::{error::Error, iter::successors};

/// `error` itself, or the first of its causes, that is an `E`.
///
/// Between layers an error has no type of its own, and what is turned away comes back with the request around the reason:
/// whoever wants to know whether it was [`Overloaded`](crate::Overloaded), [`NotReady`](crate::NotReady) or
/// [`NoEndpoints`](crate::NoEndpoints) asks for it.
///
/// ```
/// use micro_balance::{Overloaded, cause, limit::LimitLayer};
/// use tower::{BoxError, ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let closed = ServiceBuilder::new()
///     .layer(LimitLayer::new(0))
///     .service_fn(|name: String| async move { Ok::<_, BoxError>(name) });
/// let error = closed.oneshot("John".to_owned()).await.unwrap_err();
/// assert!(cause::<Overloaded>(error.as_ref()).is_some());
/// # }
/// ```
pub fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// `error`, what caused it, and so on.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}
