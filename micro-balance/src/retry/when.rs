//! Decides whether an attempt failed in a way that another may mend.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use tower::BoxError;

use crate::{
    cause::cause,
    classify::{Outcome, Pushback, grpc_status, is_grpc, retry_after},
    error::{NoEndpoints, NotReady},
    overload::Overloaded,
    repeatable::Repeatable,
    sent::NotSent,
};

/// gRPC's UNAVAILABLE: the server says it did not do the work.
const UNAVAILABLE: u16 = 14;

/// By these an Envoy says that it turned a request away to protect somebody,
/// <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter>.
const SHED: [&str; 2] = ["x-envoy-overloaded", "x-envoy-ratelimited"];

/// Which answers call for another attempt.
///
/// gRPC calls are repeated when the server answers with one of the codes, 14 (UNAVAILABLE) unless told
/// otherwise. HTTP requests are repeated on one of the statuses, 502, 503 and 504 unless told otherwise, if
/// they may be repeated: their method is idempotent or they are marked [`Repeatable`]. So are requests of either kind whose
/// connection failed; where it is proven that nothing was sent, every request is.
///
/// What an Envoy in between turned away to protect somebody, and says so by `x-envoy-overloaded` or `x-envoy-ratelimited`, is not
/// repeated, as Envoy itself does not, unless that very header is one [to repeat on](Self::header).
#[derive(Clone, Debug)]
#[must_use]
pub struct When {
    /// One bit a status, from 100 on.
    statuses: [u64; 8],
    /// One bit a code.
    codes: u32,
    headers: Vec<HeaderName>,
    also: Option<fn(StatusCode, &HeaderMap) -> bool>,
}

impl Default for When {
    fn default() -> Self {
        [502, 503, 504].into_iter().fold(Self::never().code(UNAVAILABLE), |when, status| {
            when.status(StatusCode::from_u16(status).expect("these are valid statuses"))
        })
    }
}

impl When {
    /// No answer calls for another attempt; broken connections still do.
    pub fn never() -> Self {
        Self { statuses: [0; 8], codes: 0, headers: Vec::new(), also: None }
    }

    /// Repeats on this HTTP status too; those above 599 do not exist.
    pub fn status(mut self, status: StatusCode) -> Self {
        let bit = usize::from(status.as_u16()) - 100;
        if let Some(word) = self.statuses.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
        self
    }

    /// Repeats on this gRPC code too; those above 16 do not exist.
    pub fn code(mut self, code: u16) -> Self {
        self.codes |= 1_u32.checked_shl(code.into()).unwrap_or(0);
        self
    }

    /// Repeats an HTTP request also on an answer that has this header, whatever its status.
    pub fn header(mut self, name: HeaderName) -> Self {
        self.headers.push(name);
        self
    }

    /// Repeats an HTTP request also on an answer of which `tells` says so; it is asked where the status is none of those given.
    ///
    /// ```
    /// use micro_balance::retry::When;
    ///
    /// let when = When::default().also(|_, headers| headers.get("x-should-retry").is_some_and(|told| told == "true"));
    /// ```
    pub fn also(mut self, tells: fn(StatusCode, &HeaderMap) -> bool) -> Self {
        self.also = Some(tells);
        self
    }

    /// What to do about the head of a response.
    pub(crate) fn response<B>(&self, request: Kind, response: &Response<B>) -> Verdict {
        match self.judge(request, response) {
            Verdict::Retry(_) if self.is_shed(response.headers()) => Verdict::Refused,
            verdict => verdict,
        }
    }

    /// Whether it was turned away to protect somebody, and nobody said to repeat that.
    fn is_shed(&self, headers: &HeaderMap) -> bool {
        SHED.iter().any(|name| headers.contains_key(*name) && !self.headers.iter().any(|told| told == name))
    }

    fn judge<B>(&self, request: Kind, response: &Response<B>) -> Verdict {
        let (status, headers) = (response.status(), response.headers());
        if request.grpc {
            if let Some(code) = grpc_status(headers) {
                return self.grpc(code, headers);
            }
            if status == StatusCode::OK {
                return if is_grpc(headers) { Verdict::Look } else { Verdict::Success };
            }
            // A proxy that speaks no gRPC says UNAVAILABLE this way.
            if status == StatusCode::SERVICE_UNAVAILABLE && self.has_code(UNAVAILABLE) {
                return Verdict::Retry(retry_after(headers, SystemTime::now));
            }
        }
        let also = || {
            self.headers.iter().any(|name| headers.contains_key(name))
                || self.also.is_some_and(|tells| tells(status, headers))
        };
        if request.repeatable && (self.has_status(status) || also()) {
            return Verdict::Retry(match status.as_u16() {
                429 | 503 => retry_after(headers, SystemTime::now),
                _ => None,
            });
        }
        match Outcome::of_response(response, || SystemTime::UNIX_EPOCH) {
            Some(Outcome::Failure { .. }) => Verdict::Failure,
            _ => Verdict::Success,
        }
    }

    /// What to do about the trailers of a gRPC response that has no other frame.
    pub(crate) fn trailers(&self, trailers: &HeaderMap) -> Verdict {
        grpc_status(trailers).map_or(Verdict::Success, |code| self.grpc(code, trailers))
    }

    /// What to do about an error.
    pub(crate) fn error(&self, request: Kind, error: &BoxError) -> Verdict {
        // The balancer has waited for an endpoint already, as long as it may; and what was turned away for
        // the good of others would be turned away again.
        let error = error.as_ref();
        let overloaded = cause::<Overloaded>(error).is_some();
        if overloaded || cause::<NoEndpoints>(error).is_some() || cause::<NotReady>(error).is_some() {
            Verdict::Failure
        } else {
            match NotSent::find(error) {
                Some(proof) if proof.is_refused() => Verdict::Unread,
                Some(_) => Verdict::Unsent,
                None if request.repeatable => Verdict::Retry(None),
                None => Verdict::Failure,
            }
        }
    }

    fn grpc(&self, code: u16, headers: &HeaderMap) -> Verdict {
        if code == 0 && !self.has_code(0) {
            return Verdict::Success;
        }
        match (self.has_code(code), Pushback::of(headers)) {
            (true, None) => Verdict::Retry(None),
            (true, Some(Pushback::After(wait))) => Verdict::Retry(Some(wait)),
            (true, Some(Pushback::Never)) => Verdict::Refused,
            (false, Some(Pushback::Never)) => Verdict::Fatal,
            (false, _) => Verdict::Failure,
        }
    }

    fn has_status(&self, status: StatusCode) -> bool {
        let bit = usize::from(status.as_u16()) - 100;
        self.statuses.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    fn has_code(&self, code: u16) -> bool {
        self.codes.checked_shr(code.into()).unwrap_or(0) & 1 == 1
    }
}

/// What matters about a request once it is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) grpc: bool,
    pub(crate) repeatable: bool,
}

impl Kind {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        Self { grpc: is_grpc(request.headers()), repeatable: Repeatable::is(request) }
    }
}

/// What to do about the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Deliver it: it went well.
    Success,
    /// Deliver it: it went wrong, but another attempt is no remedy.
    Failure,
    /// Deliver it: the server asks not to be tried again.
    Refused,
    /// Both.
    Fatal,
    /// Look at the first frame of the body.
    Look,
    /// Try again, after this wait if the server names one.
    Retry(Option<Duration>),
    /// Try again as if nothing had happened: nothing was sent.
    Unsent,
    /// The same once: it was sent, and the server looked at nothing of it. From then on it is a failure.
    Unread,
}
