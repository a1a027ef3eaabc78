//! What a registry can do, and why it sometimes cannot.

use std::fmt::Debug;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use tower::BoxError;

use crate::invalid::Invalid;
use crate::record::Service;

/// Where records are kept. One type per backend; [`open`](crate::open) turns a URL into one.
///
/// A registry says what *is*: [`get`](Self::get) and [`watch`](Self::watch) answer with whole sets, so a lost event
/// is harmless. It need not hide its failures: [`Watch`](crate::Watch) keeps a client going through them,
/// [`Announcement`](crate::Announcement) a server.
pub trait Registry: Debug + Send + Sync {
    /// Puts the endpoints of `service`, or renews them, for `ttl`; zero means for ever.
    ///
    /// An endpoint replaces one of the same service and id, whatever its version. Other endpoints stay as they
    /// are, so replicas announce themselves without knowing of each other. Doing it twice is doing it once.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the record breaks a rule or has no endpoint; otherwise the backend's trouble.
    fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>>;

    /// Removes the endpoints of `service`, those that are still as announced: an endpoint that came back
    /// with another version or address is another announcement's to withdraw.
    ///
    /// # Errors
    ///
    /// As for [`announce`](Self::announce). Withdrawing what is not there is no error.
    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>>;

    /// Every service that has a live endpoint: one record per name and version, at least with these two filled.
    ///
    /// # Errors
    ///
    /// The backend's trouble.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>>;

    /// The live endpoints of the service `name`: one record per version, none when nothing is known.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when no service can have this name; otherwise the backend's trouble.
    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>>;

    /// What [`get`](Self::get) answers: now, and whenever it changes.
    ///
    /// The first item comes as soon as the backend has answered, be it an empty set. The stream may err and may
    /// end; it never yields a set smaller than the truth because something was not known.
    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>>;

    /// The backend's name, such as `file`.
    fn backend(&self) -> &'static str;
}

/// Why a registry could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A URL, a record or a name breaks a rule.
    #[error("{} {what}", rejecting(backend))]
    Invalid {
        /// The backend's name; empty where a URL names none.
        backend: &'static str,
        /// Which rule, and where.
        what: Invalid,
    },
    /// The backend is not made for this, e.g. announcing to a fixed list.
    #[error("the {backend} registry cannot {what}")]
    Unsupported {
        /// The backend's name.
        backend: &'static str,
        /// What it was asked, as a verb.
        what: &'static str,
    },
    /// The backend cannot be reached, has no room, or does not follow its own protocol.
    #[error("the {backend} registry cannot {what}")]
    Unavailable {
        /// The backend's name.
        backend: &'static str,
        /// What it tried, as a verb.
        what: String,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
}

/// Who rejects, in words.
fn rejecting(backend: &str) -> String {
    match backend {
        "" => "no registry is named by".to_owned(),
        backend => format!("the {backend} registry rejects"),
    }
}

impl Error {
    /// The backend cannot `what`, a verb, because of `source`: as a registry of one's own says that its server is down.
    ///
    /// ```
    /// use micro_discover::Error;
    ///
    /// let error = Error::unavailable("local", "list services", std::io::Error::other("the disk is gone"));
    /// assert!(error.is_retryable());
    /// assert_eq!(error.to_string(), "the local registry cannot list services");
    /// ```
    pub fn unavailable(backend: &'static str, what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Unavailable { backend, what: what.into(), source: source.into() }
    }

    /// The backend is not made to `what`, a verb, as a fixed list is not made to announce.
    pub fn unsupported(backend: &'static str, what: &'static str) -> Self {
        Self::Unsupported { backend, what }
    }

    /// A URL, a record or a name breaks the rule that `what` says.
    pub fn invalid(backend: &'static str, what: impl Into<String>) -> Self {
        Self::Invalid { backend, what: Invalid::new(what) }
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// The error and its causes in one line, for the log.
    pub(crate) fn report(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// A record fit to be announced or withdrawn.
pub(crate) fn check_announced(backend: &'static str, service: &Service) -> Result<(), Error> {
    let checked = match service.validate() {
        Ok(()) if service.endpoints.is_empty() => {
            Err(Invalid::new("it has no endpoint to announce").at(format_args!("service {:?}", service.name)))
        }
        checked => checked,
    };
    checked.map_err(|what| Error::Invalid { backend, what })
}
