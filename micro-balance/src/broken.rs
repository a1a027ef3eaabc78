//! A request whose body was not to be had from its caller.

use tower::BoxError;

/// The body of a request broke off on its way here: the doing of whoever sent it. It tells nothing about the endpoint that
/// was given the request, and so the balancer holds it against none.
///
/// Whoever passes requests on wraps the errors of their bodies in it.
///
/// ```
/// use micro_balance::{BrokenBody, cause};
///
/// let error: tower::BoxError = BrokenBody::new("connection reset by peer").into();
/// assert!(cause::<BrokenBody>(error.as_ref()).is_some());
/// ```
#[derive(Debug, thiserror::Error)]
#[error("the body of the request broke off")]
pub struct BrokenBody(#[source] BoxError);

impl BrokenBody {
    /// One that broke off because of `source`.
    pub fn new(source: impl Into<BoxError>) -> Self {
        Self(source.into())
    }
}
