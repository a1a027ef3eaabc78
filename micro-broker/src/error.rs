//! Why a broker could not do what it was asked.

use std::fmt::Display;

use tower::BoxError;

/// Why a broker could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request breaks a rule of the backend, e.g. a topic with an empty word.
    #[error("{} {what}", rejecting(backend))]
    Invalid {
        /// The backend's name; empty where a URL names none.
        backend: &'static str,
        /// What it rejects, and why.
        what: String,
    },
    /// The broker cannot be reached; nothing was published or subscribed to.
    #[error("the {backend} broker is unavailable, nothing was published or subscribed to")]
    Unavailable {
        /// The backend's name.
        backend: &'static str,
        /// What was tried last.
        #[source]
        source: BoxError,
    },
    /// The event was sent and the broker did not confirm it: it may have been published or not. Publishing the same
    /// event again, with the same id, is safe for subscribers that deduplicate.
    #[error("the {backend} broker did not confirm: the event may or may not have been published")]
    Unconfirmed {
        /// The backend's name.
        backend: &'static str,
        /// What was heard last.
        #[source]
        source: BoxError,
    },
    /// A bounded queue is full, because its subscribers are slower than its publishers.
    #[error("the {backend} broker has no room: {queue} is full")]
    Full {
        /// The backend's name.
        backend: &'static str,
        /// Which queue: a topic and group, or an outbox.
        queue: String,
    },
    /// The broker was closed by this process.
    #[error("the {backend} broker is closed")]
    Closed {
        /// The backend's name.
        backend: &'static str,
    },
}

/// Who rejects, in words.
fn rejecting(backend: &str) -> String {
    match backend {
        "" => "no broker is named by".to_owned(),
        backend => format!("the {backend} broker rejects"),
    }
}

impl Error {
    /// That `backend` rejects `what`, and why.
    pub(crate) fn invalid(backend: &'static str, what: impl Into<String>) -> Self {
        Self::Invalid { backend, what: what.into() }
    }

    /// That `backend` rejects a topic, or a pattern of topics, for its `fault`.
    pub(crate) fn invalid_topic(backend: &'static str, topic: &str, fault: impl Display) -> Self {
        Self::invalid(backend, format!("topic {topic:?}: {fault}"))
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unconfirmed { .. } | Self::Full { .. })
    }

    /// Whether the event is known not to have been published.
    pub fn is_unpublished(&self) -> bool {
        !matches!(self, Self::Unconfirmed { .. } | Self::Full { .. })
    }
}

/// The answer of a handler that knows no later attempt can succeed: the event goes to the dead letters at once.
///
/// ```
/// # use micro_broker::Reject;
/// # use tower::BoxError;
/// fn price(body: &[u8]) -> Result<u64, BoxError> {
///     Ok(std::str::from_utf8(body).map_err(Reject::new)?.parse().map_err(Reject::new)?)
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[error("the event can never be handled")]
pub struct Reject {
    #[source]
    source: BoxError,
}

impl Reject {
    /// Rejects because of `source`.
    pub fn new(source: impl Into<BoxError>) -> Self {
        Self { source: source.into() }
    }

    /// Whether an error, or anything that caused it, is a rejection.
    pub fn is(error: &(dyn std::error::Error + 'static)) -> bool {
        std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<Self>())
    }
}
