//! Why a balancer could not give a request to anybody.

use std::{fmt, sync::Arc, time::Duration};

/// Discovery knows of no endpoint of the service.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}no endpoint is known: is any instance running and announced?", Prefix(.service))]
pub struct NoEndpoints {
    pub(crate) service: Option<Arc<str>>,
}

/// The request asks for certain endpoints, and none of them is there.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}none of {ready} ready endpoints is one that the request asks for", Prefix(.service))]
pub struct NoMatch {
    pub(crate) service: Option<Arc<str>>,
    pub(crate) ready: usize,
}

/// No endpoint became ready in time.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "{}none of {known} known endpoints became ready within {waited:?}{}",
    Prefix(.service),
    Last(.last)
)]
pub struct NotReady {
    pub(crate) service: Option<Arc<str>>,
    pub(crate) known: usize,
    pub(crate) waited: Duration,
    pub(crate) last: Option<Arc<str>>,
}

impl NotReady {
    /// How many endpoints discovery knows of.
    pub fn known(&self) -> usize {
        self.known
    }

    /// How long the request waited.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

/// Too few endpoints are well, and requests are to fail then: see
/// [`Ejection::fail_in_panic`](crate::Ejection::fail_in_panic).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}too few of {known} known endpoints are well, and requests are to fail then", Prefix(.service))]
pub struct TooFewWell {
    pub(crate) service: Option<Arc<str>>,
    pub(crate) known: usize,
}

struct Prefix<'a>(&'a Option<Arc<str>>);

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |service| write!(f, "service \"{service}\": "))
    }
}

struct Last<'a>(&'a Option<Arc<str>>);

impl fmt::Display for Last<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |last| write!(f, "; the last attempt: {last}"))
    }
}

/// An error with all its causes on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
