//! What took too long.

use std::{fmt, time::Duration};

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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {phase} took longer than {limit:?}")]
pub struct Elapsed {
    phase: Phase,
    limit: Duration,
}

impl Elapsed {
    pub(crate) fn new(phase: Phase, limit: Duration) -> Self {
        Self { phase, limit }
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
