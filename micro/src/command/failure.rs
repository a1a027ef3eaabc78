//! Why a command failed: what happened, what was tried, and what to try.

use std::error::Error;
use std::fmt;

use tower::BoxError;

/// Why a command failed. It prints as what happened; its causes are in [`source`](Error::source).
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    what: String,
    tried: Option<String>,
    hint: Option<String>,
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
    /// A registry or an endpoint could not be reached or does not serve. It may later.
    Unavailable,
    /// Nobody takes the replies any more.
    Unread,
    /// Anything else.
    Other,
}

impl Failure {
    /// A failure and what happened.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), tried: None, hint: None, source: None }
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

/// An error and its causes in one line; a cause whose words are already there is left out.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_says_each_cause_once() {
        let inner = std::io::Error::other("refused");
        let failure = Failure::new(Kind::Other, "cannot connect").source(inner);
        assert_eq!(chain(&failure), "cannot connect: refused");
        assert_eq!(chain(&Failure::new(Kind::Other, "it was refused").source("refused")), "it was refused");
    }
}
