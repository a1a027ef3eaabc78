//! Says whether a failed request may have reached anybody.
//!
//! What was not sent may be sent again, whatever the request does: an endpoint that can prove it hands the
//! request back in [`Unsent`], and the balancer gives it to another. Once the request is gone, [`NotSent`]
//! keeps the proof for a retry layer above.

use std::{
    error::Error,
    fmt,
    sync::{Mutex, PoisonError},
};

use tower::BoxError;

use crate::cause::cause;

/// A request handed back by an endpoint that sent nothing of it, with the reason.
///
/// The mutex makes the error [`Sync`], as a [`BoxError`] must be, for requests whose body is not; it is
/// never contended.
pub struct Unsent<Req> {
    request: Mutex<Option<Req>>,
    source: NotSent,
}

impl<Req: Send + 'static> Unsent<Req> {
    /// Hands `request` back because of `source`.
    pub fn new(request: Req, source: impl Into<BoxError>) -> Self {
        Self { request: Mutex::new(Some(request)), source: NotSent::new(source) }
    }

    /// Splits the error into the request and the reason it came back.
    ///
    /// # Errors
    ///
    /// Gives `error` back unchanged when it holds no request of this type.
    pub fn take(error: BoxError) -> Result<(Req, NotSent), BoxError> {
        let Self { request, source } = *error.downcast::<Self>()?;
        match request.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(request) => Ok((request, source)),
            None => Err(source.into()),
        }
    }
}

impl<Req> fmt::Debug for Unsent<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsent").field("source", &self.source).finish_non_exhaustive()
    }
}

impl<Req> fmt::Display for Unsent<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // That it was not sent is what its source says.
        f.write_str("the request came back")
    }
}

impl<Req> Error for Unsent<Req> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The mark can be found in the chain without knowing the type of the request.
        Some(&self.source)
    }
}

/// Nobody has done anything about the request: repeating it is safe, whatever it does.
#[derive(Debug, thiserror::Error)]
#[error("the request was {}", if_refused(.refused))]
pub struct NotSent {
    #[source]
    source: BoxError,
    refused: bool,
}

impl NotSent {
    /// Marks `source` as a failure from before anything was sent.
    pub fn new(source: impl Into<BoxError>) -> Self {
        Self { source: source.into(), refused: false }
    }

    /// Marks `source` as the word of a server that looked at nothing of the request: HTTP/2's `REFUSED_STREAM`, and a
    /// stream above the last one of its `GOAWAY`. The request did travel, so it is sent again only once for nothing.
    pub fn refused(source: impl Into<BoxError>) -> Self {
        Self { source: source.into(), refused: true }
    }

    /// Whether `error`, or a cause of it, proves that the request was not sent.
    ///
    /// ```
    /// use micro_balance::NotSent;
    ///
    /// let error: tower::BoxError = NotSent::new("connection refused").into();
    /// assert!(NotSent::is(error.as_ref()));
    /// ```
    pub fn is(error: &(dyn Error + 'static)) -> bool {
        Self::find(error).is_some()
    }

    /// Whether it was a server that turned the request away, and not a failure before one had it.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// The mark on `error`, or on a cause of it.
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        cause(error)
    }
}

fn if_refused(refused: &bool) -> &'static str {
    if *refused { "turned away unread" } else { "not sent" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_back_whole_with_the_reason() {
        let error: BoxError = Unsent::new(String::from("request"), "refused").into();
        let (request, source) = Unsent::<String>::take(error).unwrap();
        assert_eq!(request, "request");
        assert_eq!(source.source().unwrap().to_string(), "refused");
    }

    #[test]
    fn an_error_of_another_kind_is_left_alone() {
        let error: BoxError = "reset by peer".into();
        assert_eq!(Unsent::<String>::take(error).unwrap_err().to_string(), "reset by peer");
    }

    #[test]
    fn the_mark_is_found_below_other_errors() {
        let error: BoxError = Unsent::new((), "refused").into();
        assert!(NotSent::is(error.as_ref()));
        let plain: BoxError = "reset by peer".into();
        assert!(!NotSent::is(plain.as_ref()));
    }

    #[test]
    fn what_a_server_turned_away_is_told_from_what_never_left() {
        let refused: BoxError = NotSent::refused("REFUSED_STREAM").into();
        assert_eq!(refused.to_string(), "the request was turned away unread");
        assert!(NotSent::is(refused.as_ref()) && NotSent::find(refused.as_ref()).unwrap().is_refused());
        assert!(!NotSent::new("connection refused").is_refused());
    }
}
