//! What took too long.

use std::{fmt, sync::Arc, time::Duration};

/// What a timeout limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// A call with all its attempts.
    Call,
    /// One attempt of a call.
    Attempt,
    /// A pause in the body of a response.
    Pause,
    /// A response from its head to its end.
    Response,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Call => "call",
            Self::Attempt => "attempt",
            Self::Pause => "pause in the response",
            Self::Response => "response",
        })
    }
}

/// The answer did not come in time. Whether the request was carried out, nobody knows.
///
/// Says what was waited for where a balancer within told that, see [`last_words`](crate::last_words).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {phase} took longer than {limit:?}{}", Waited(.waited))]
pub struct Elapsed {
    phase: Phase,
    limit: Duration,
    waited: Option<Arc<str>>,
}

impl Elapsed {
    pub(crate) fn new(phase: Phase, limit: Duration) -> Self {
        Self { phase, limit, waited: None }
    }

    /// Says what was waited for, if that is known.
    pub(crate) fn waited_for(mut self, what: Option<Arc<str>>) -> Self {
        self.waited = what;
        self
    }

    /// What took too long.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How long it was allowed to take.
    pub fn limit(&self) -> Duration {
        self.limit
    }
}

struct Waited<'a>(&'a Option<Arc<str>>);

impl fmt::Display for Waited<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |what| write!(f, ": {what}"))
    }
}
