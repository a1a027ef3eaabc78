//! Says why a request got no answer, to someone who has not read the code.

use std::{fmt, sync::Arc, time::Duration};

use micro_balance::NotSent;
use tower::BoxError;

/// How far a request had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Looking the service up.
    Discover,
    /// Choosing one of its endpoints.
    Pick,
    /// Connecting to that endpoint.
    Connect,
    /// Sending the request.
    Send,
    /// Waiting for the head of the response.
    Wait,
    /// Reading the body of the response.
    Read,
}

impl Phase {
    fn failed(self) -> &'static str {
        match self {
            Self::Discover => "could not be looked up",
            Self::Pick => "has no endpoint that can take the request",
            Self::Connect => "could not be connected to",
            Self::Send => "could not be sent the request",
            Self::Wait => "did not answer",
            Self::Read => "broke off its answer",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Discover => "can this process reach the registry?",
            Self::Pick => "is one running, and announced to the same registry?",
            Self::Connect => "is it running, and listening on that address?",
            Self::Send | Self::Wait | Self::Read => "has it stopped or been restarted?",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discover => "discover",
            Self::Pick => "pick",
            Self::Connect => "connect",
            Self::Send => "send",
            Self::Wait => "wait",
            Self::Read => "read",
        })
    }
}

/// Whether anybody may have seen a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// Provably nobody: sending it again is safe, whatever it does.
    NotSent,
    /// Perhaps: sending it again is safe only if doing it twice is.
    MaybeSent,
}

/// Why a request got no answer: where, when, how far it had come, and what to try.
///
/// Reads like `greeter at 127.0.0.1:8080 could not be connected to after 1.2ms: is it running, and listening
/// on that address?`, and says which attempt it was unless that was the first; the cause is in
/// [`source`](std::error::Error::source).
pub struct Error {
    details: Box<Details>,
}

struct Details {
    phase: Phase,
    sent: Sent,
    service: Option<Arc<str>>,
    endpoint: Option<Arc<str>>,
    elapsed: Option<Duration>,
    attempt: u32,
    hinted: bool,
    source: BoxError,
}

impl Error {
    /// A failure in `phase`. It counts as not sent where `source` proves it, see [`NotSent::is`].
    pub fn new(phase: Phase, source: impl Into<BoxError>) -> Self {
        let source = source.into();
        let sent = if NotSent::is(source.as_ref()) { Sent::NotSent } else { Sent::MaybeSent };
        Self {
            details: Box::new(Details {
                phase,
                sent,
                service: None,
                endpoint: None,
                elapsed: None,
                attempt: 1,
                hinted: true,
                source,
            }),
        }
    }

    /// A failure in `phase` before anything was sent.
    pub fn not_sent(phase: Phase, source: impl Into<BoxError>) -> Self {
        Self::new(phase, NotSent::new(source))
    }

    /// A failure in `phase` of a request that the server turned away without a look at it. It counts as not sent.
    pub fn refused(phase: Phase, source: impl Into<BoxError>) -> Self {
        Self::new(phase, NotSent::refused(source))
    }

    /// Names the service that was called.
    #[must_use]
    pub fn service(mut self, name: impl Into<Arc<str>>) -> Self {
        self.details.service = Some(name.into());
        self
    }

    /// Names the address that was called.
    #[must_use]
    pub fn endpoint(mut self, address: impl Into<Arc<str>>) -> Self {
        self.details.endpoint = Some(address.into());
        self
    }

    /// Says how long the caller had waited.
    #[must_use]
    pub fn elapsed(mut self, elapsed: Duration) -> Self {
        self.details.elapsed = Some(elapsed);
        self
    }

    /// Says which attempt at the request failed, counted from 1.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.details.attempt = attempt;
        self
    }

    /// Leaves it to the cause to say what to try.
    pub(crate) fn without_hint(mut self) -> Self {
        self.details.hinted = false;
        self
    }

    /// How far the request had come.
    pub fn phase(&self) -> Phase {
        self.details.phase
    }

    /// Whether anybody may have seen the request.
    pub fn sent(&self) -> Sent {
        self.details.sent
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { phase, service, endpoint, elapsed, attempt, hinted, .. } = &*self.details;
        match (service, endpoint) {
            (Some(service), Some(endpoint)) => write!(f, "{service} at {endpoint}")?,
            (Some(name), None) | (None, Some(name)) => f.write_str(name)?,
            (None, None) => f.write_str("the service")?,
        }
        write!(f, " {}", phase.failed())?;
        if let Some(elapsed) = elapsed {
            write!(f, " after {elapsed:.1?}")?;
        }
        if *attempt > 1 {
            write!(f, ", in attempt {attempt}")?;
        }
        if *hinted { write!(f, ": {}", phase.hint()) } else { Ok(()) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { phase, sent, service, endpoint, elapsed, attempt, source, .. } = &*self.details;
        f.debug_struct("Error")
            .field("phase", phase)
            .field("sent", sent)
            .field("service", service)
            .field("endpoint", endpoint)
            .field("elapsed", elapsed)
            .field("attempt", attempt)
            .field("source", source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.details.source.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_who_what_when_and_what_to_try() {
        let error = Error::not_sent(Phase::Connect, "connection refused")
            .service("greeter")
            .endpoint("127.0.0.1:80")
            .elapsed(Duration::from_micros(1200));
        assert_eq!(
            error.to_string(),
            "greeter at 127.0.0.1:80 could not be connected to after 1.2ms: is it running, and listening on that \
             address?"
        );
        assert_eq!(error.phase(), Phase::Connect);
        assert_eq!(
            Error::new(Phase::Wait, "reset").elapsed(Duration::from_millis(3)).attempt(2).to_string(),
            "the service did not answer after 3.0ms, in attempt 2: has it stopped or been restarted?"
        );
    }

    #[test]
    fn what_was_not_sent_is_known_however_deep_the_proof_lies() {
        let inner = Error::not_sent(Phase::Connect, "connection refused");
        assert_eq!(Error::new(Phase::Wait, inner).sent(), Sent::NotSent);
        assert_eq!(Error::new(Phase::Wait, "reset by peer").sent(), Sent::MaybeSent);
    }

    #[test]
    fn an_error_fits_into_a_register() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
