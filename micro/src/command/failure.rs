//! Why a command failed: what happened, what was tried, and what to try.

use std::error::Error;
use std::fmt;

use tonic::Code;
use tower::BoxError;

/// Why a command failed. It prints as what happened; its causes are in [`source`](Error::source).
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    what: String,
    tried: Option<String>,
    hint: Option<String>,
    details: Vec<String>,
    source: Option<BoxError>,
}

/// What sort of failure it is: what a program that called the command decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The command was not understood, or asks for what a rule forbids.
    Usage,
    /// There is no such service or endpoint.
    NotFound,
    /// Some endpoint does not serve.
    NotServing,
    /// A registry or a broker could not be reached. It may later.
    Unavailable,
    /// Who asked may not.
    Denied,
    /// Time ran out before anything was answered.
    Timeout,
    /// A setting is wrong: in a file, a context or the environment.
    Config,
    /// A service answered with this gRPC status, or was not reached, which is `UNAVAILABLE`.
    Status(Code),
    /// None: it is the help that was asked for.
    Help,
    /// Nobody takes the replies any more.
    Unread,
    /// Anything else.
    Other,
}

impl Kind {
    /// The exit code of a program that failed so; 64 and more are 64 plus the number of a gRPC status.
    ///
    /// | code | says |
    /// |---|---|
    /// | 0 | done; a command that runs until it is stopped was stopped |
    /// | 1 | another failure |
    /// | 2 | usage: the command line, a record, a request or a URL is wrong |
    /// | 3 | no such service, endpoint or method, or one that does not serve |
    /// | 4 | not allowed |
    /// | 5 | no answer in time from a registry or a broker |
    /// | 6 | a registry or a broker cannot be reached |
    /// | 8 | a setting is wrong |
    /// | 64 + N | gRPC status N, such as 67 for `INVALID_ARGUMENT` and 78 for `UNAVAILABLE` |
    /// | 130, 143 | SIGINT or SIGTERM ended a command that does not run until it is stopped |
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Help => 0,
            Self::Other | Self::Unread => 1,
            Self::Usage => 2,
            Self::NotFound | Self::NotServing => 3,
            Self::Denied => 4,
            Self::Timeout => 5,
            Self::Unavailable => 6,
            Self::Config => 8,
            Self::Status(code) => 64 + code as u8,
        }
    }
}

impl Failure {
    /// A failure and what happened.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), tried: None, hint: None, details: Vec::new(), source: None }
    }

    /// Says what was tried.
    #[must_use]
    pub fn tried(mut self, tried: impl Into<String>) -> Self {
        self.tried = Some(tried.into());
        self
    }

    /// Says what to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says more of what happened: as JSON, one after the other.
    #[must_use]
    pub fn details(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }

    /// Says what caused it.
    #[must_use]
    pub fn source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What else is said of it, each as JSON.
    pub fn what_more(&self) -> &[String] {
        &self.details
    }

    /// What was tried, for the reader.
    pub fn what_was_tried(&self) -> Option<&str> {
        self.tried.as_deref()
    }

    /// What to try next, for the reader.
    pub fn what_to_try(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::chain;

    #[test]
    fn a_chain_says_each_cause_once() {
        let inner = std::io::Error::other("refused");
        let failure = Failure::new(Kind::Other, "cannot connect").source(inner);
        assert_eq!(chain(&failure), "cannot connect: refused");
        assert_eq!(chain(&Failure::new(Kind::Other, "it was refused").source("refused")), "it was refused");
    }
}
