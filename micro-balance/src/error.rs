//! Why a balancer could not give a request to anybody.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use crate::{cause::causes, sent::NotSent};

/// Discovery knows of no endpoint of the service, or has not said of any in time.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}no endpoint is known: {why}", Prefix(.service))]
pub struct NoEndpoints {
    pub(crate) service: Option<Arc<str>>,
    pub(crate) why: Nobody,
}

/// Why nobody is known.
#[derive(Clone, Debug)]
pub(crate) enum Nobody {
    /// Discovery says so.
    Announced,
    /// It has said nothing for so long.
    Silent(Duration),
    /// Nothing more is to be heard of it, for this reason.
    Over(Arc<str>),
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
    "{}none of {known} known endpoints became ready{}{}",
    Prefix(.service),
    Within(.waited),
    Why(.why)
)]
pub struct NotReady {
    pub(crate) service: Option<Arc<str>>,
    pub(crate) known: usize,
    pub(crate) waited: Duration,
    pub(crate) why: Unready,
}

/// Why nobody is ready, as far as that is known.
#[derive(Clone, Debug)]
pub(crate) enum Unready {
    Unknown,
    /// An attempt to connect ended so.
    Attempt(Arc<str>),
    /// Nobody is connected any more, for this reason.
    Over(&'static str),
}

impl NotReady {
    /// How many endpoints discovery knows of.
    pub fn known(&self) -> usize {
        self.known
    }

    /// How long requests wait; zero where they fail as soon as every endpoint has.
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

impl fmt::Display for Nobody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Announced => f.write_str("is any instance running and announced?"),
            Self::Silent(waited) => write!(f, "discovery has said nothing within {waited:?}"),
            Self::Over(why) => f.write_str(why),
        }
    }
}

struct Within<'a>(&'a Duration);

impl fmt::Display for Within<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() { Ok(()) } else { write!(f, " within {:?}", self.0) }
    }
}

struct Why<'a>(&'a Unready);

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unready::Unknown => Ok(()),
            Unready::Attempt(error) => write!(f, "; the last attempt: {error}"),
            Unready::Over(why) => write!(f, ": {why}"),
        }
    }
}

/// Why an attempt failed, with all causes on one line. That it sent nothing is what the request says that waits for it.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let words = causes(error).filter(|cause| !cause.is::<NotSent>()).map(ToString::to_string);
    words.collect::<Vec<_>>().join(": ")
}
