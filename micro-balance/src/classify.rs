//! Reads what an HTTP or gRPC answer says about the endpoint that gave it.
//!
//! Everything here is a pure function of the answer: the balancer, ejection, retries and throttling decide
//! by the same words. A client's own mistake (`404`, `INVALID_ARGUMENT`) is a success of the endpoint.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use http_body::Frame;

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The longest time an endpoint can ask to be left alone.
const MAX_HINT: Duration = Duration::from_secs(300);

/// gRPC's code for what has no other.
const UNKNOWN: u16 = 2;

/// Whether an endpoint did its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It did, even if the caller asked for something that cannot be had.
    Success,
    /// It did not, and that is the endpoint's fault.
    Failure {
        /// How long it asks to be left alone, at most five minutes; only from an overloaded endpoint.
        hint: Option<Duration>,
        /// What kind of failure it was.
        fault: Fault,
    },
}

/// Who says that a request failed; ejection can count the kinds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The endpoint answers that it failed.
    Server,
    /// It answers that it could not reach what it needs, or not in time: 502, 503 and 504, in gRPC
    /// UNAVAILABLE and DEADLINE_EXCEEDED.
    Gateway,
    /// No answer came, or not all of it: the connection broke, or time ran out on this side.
    Local,
}

impl Outcome {
    /// From the head of a response; `None` when a gRPC answer will tell in its trailers.
    ///
    /// `now` is asked only when the endpoint names a date in `Retry-After`.
    pub fn of_response<B>(response: &Response<B>, now: impl FnOnce() -> SystemTime) -> Option<Self> {
        let headers = response.headers();
        if let Some(code) = grpc_status(headers) {
            return Some(Self::of_code(code, headers));
        }
        if response.status() == StatusCode::OK && is_grpc(headers) {
            return None;
        }
        Some(Self::of_status(response.status(), headers, now))
    }

    /// From the trailers of a gRPC response; without a status they are a failure.
    pub fn of_trailers(trailers: &HeaderMap) -> Self {
        Self::of_code(grpc_status(trailers).unwrap_or(UNKNOWN), trailers)
    }

    /// From a frame of a body whose head did not tell, or from its end; `None` while there is more to come.
    #[inline]
    pub(crate) fn of_frame<D, E>(frame: Option<&Result<Frame<D>, E>>, is_last: bool) -> Option<Self> {
        match frame {
            Some(Ok(frame)) => match frame.trailers_ref() {
                Some(trailers) if trailers.contains_key(&GRPC_STATUS) => Some(Self::of_trailers(trailers)),
                Some(_) => Some(Self::Success),
                None => is_last.then_some(Self::Success),
            },
            Some(Err(_)) => Some(Self::BROKEN),
            None => Some(Self::Success),
        }
    }

    /// No answer came, or not all of it.
    pub(crate) const BROKEN: Self = Self::Failure { hint: None, fault: Fault::Local };

    fn of_status(status: StatusCode, headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Self {
        let fault = if matches!(status.as_u16(), 502..=504) { Fault::Gateway } else { Fault::Server };
        match status.as_u16() {
            429 | 503 => Self::Failure { hint: retry_after(headers, now), fault },
            500..=599 => Self::Failure { hint: None, fault },
            _ => Self::Success,
        }
    }

    fn of_code(code: u16, headers: &HeaderMap) -> Self {
        let fault = if matches!(code, 4 | 14) { Fault::Gateway } else { Fault::Server };
        match code {
            // RESOURCE_EXHAUSTED and UNAVAILABLE may say for how long.
            8 | 14 => Self::Failure { hint: Pushback::of(headers).and_then(Pushback::wait), fault },
            // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL and DATA_LOSS.
            2 | 4 | 13 | 15 => Self::Failure { hint: None, fault },
            _ => Self::Success,
        }
    }
}

/// Whether these are the headers of a gRPC message, by their `content-type`.
///
/// gRPC-Web is not: its status stands in the last frame of the body, where only the caller sees it.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes()) else { return false };
    const GRPC: &[u8] = b"application/grpc";
    // What nearly all say.
    if value == GRPC {
        return true;
    }
    let Some((start, rest)) = value.split_at_checked(GRPC.len()) else { return false };
    start.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// The `grpc-status` among headers or trailers; what is not a number of the protocol reads as UNKNOWN.
pub fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    let value = headers.get(&GRPC_STATUS)?.as_bytes();
    Some(match value {
        [one @ b'0'..=b'9'] => u16::from(one - b'0'),
        [b'1', one @ b'0'..=b'6'] => 10 + u16::from(one - b'0'),
        _ => UNKNOWN,
    })
}

/// How long `Retry-After` asks to wait: seconds or a date, nothing for a date that has passed, at most five
/// minutes.
pub fn retry_after(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit is still a number of seconds: a very long one.
        return Some(value.parse().map_or(MAX_HINT, Duration::from_secs).min(MAX_HINT));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now()).unwrap_or_default().min(MAX_HINT))
}

/// What a gRPC server says about retrying, in `grpc-retry-pushback-ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushback {
    /// Retry after exactly this wait, at most five minutes.
    After(Duration),
    /// Do not retry: a negative number, several values, or something that is no number.
    Never,
}

impl Pushback {
    /// Reads it from headers or trailers; `None` when the server says nothing.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(&PUSHBACK).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return Some(Self::Never);
        }
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        Some(match digits.and_then(|digits| digits.parse().ok()) {
            Some(ms) => Self::After(Duration::from_millis(ms).min(MAX_HINT)),
            None => Self::Never,
        })
    }

    fn wait(self) -> Option<Duration> {
        match self {
            Self::After(wait) => Some(wait),
            Self::Never => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn outcome(status: u16, pairs: &[(&'static str, &str)]) -> Option<Outcome> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = headers(pairs);
        Outcome::of_response(&response, || SystemTime::UNIX_EPOCH)
    }

    /// Whether it is a failure, and the hint with it.
    fn failure(outcome: Option<Outcome>) -> Option<Option<Duration>> {
        match outcome {
            Some(Outcome::Failure { hint, .. }) => Some(hint),
            _ => None,
        }
    }

    #[test]
    fn a_clients_mistake_is_a_success_of_the_endpoint() {
        for status in [200, 204, 301, 400, 401, 403, 404, 408, 409, 499] {
            assert_eq!(outcome(status, &[]), Some(Outcome::Success), "{status}");
        }
        for code in ["0", "1", "3", "5", "6", "7", "9", "10", "11", "12", "16"] {
            let pairs = [("content-type", "application/grpc"), ("grpc-status", code)];
            assert_eq!(outcome(200, &pairs), Some(Outcome::Success), "{code}");
        }
    }

    #[test]
    fn what_the_endpoint_could_not_do_is_its_failure() {
        for status in [429, 500, 501, 502, 503, 504, 599] {
            assert_eq!(failure(outcome(status, &[])), Some(None), "{status}");
        }
        for code in ["2", "4", "8", "13", "14", "15", "17", "-1", "x", "", "007"] {
            assert_eq!(failure(outcome(200, &[("grpc-status", code)])), Some(None), "{code}");
        }
    }

    #[test]
    fn a_grpc_answer_without_a_status_is_told_by_its_trailers() {
        assert_eq!(outcome(200, &[("content-type", "application/grpc+proto")]), None);
        assert_eq!(failure(outcome(503, &[("content-type", "application/grpc")])), Some(None));
        assert_eq!(Outcome::of_trailers(&headers(&[("grpc-status", "0")])), Outcome::Success);
        assert_eq!(failure(Some(Outcome::of_trailers(&HeaderMap::new()))), Some(None));
    }

    #[test]
    fn only_overload_carries_a_hint() {
        let hint = |secs| Some(Some(Duration::from_secs(secs)));
        assert_eq!(failure(outcome(503, &[("retry-after", "7")])), hint(7));
        assert_eq!(failure(outcome(429, &[("retry-after", "86400")])), hint(300));
        assert_eq!(failure(outcome(500, &[("retry-after", "7")])), Some(None));
        let pushed = |code| [("grpc-status", code), ("grpc-retry-pushback-ms", "2000")];
        assert_eq!(failure(outcome(200, &pushed("14"))), hint(2));
        assert_eq!(failure(outcome(200, &pushed("13"))), Some(None));
    }

    #[test]
    fn a_gateways_failures_are_told_from_the_endpoints_own() {
        let fault = |status, pairs: &[(&'static str, &str)]| match outcome(status, pairs) {
            Some(Outcome::Failure { fault, .. }) => fault,
            other => panic!("{other:?} is no failure"),
        };
        for (status, kind) in
            [(500, Fault::Server), (502, Fault::Gateway), (504, Fault::Gateway), (505, Fault::Server)]
        {
            assert_eq!(fault(status, &[]), kind, "{status}");
        }
        for (code, kind) in
            [("14", Fault::Gateway), ("4", Fault::Gateway), ("13", Fault::Server), ("8", Fault::Server)]
        {
            assert_eq!(fault(200, &[("grpc-status", code)]), kind, "{code}");
        }
    }

    #[test]
    fn a_date_to_retry_at_is_a_wait_from_now_and_never_negative() {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let headers = headers(&[("retry-after", &httpdate::fmt_http_date(date))]);
        let wait = |now: SystemTime| retry_after(&headers, || now);
        assert_eq!(wait(date - Duration::from_secs(9)), Some(Duration::from_secs(9)));
        assert_eq!(wait(date + Duration::from_secs(9)), Some(Duration::ZERO));
        assert_eq!(wait(SystemTime::UNIX_EPOCH), Some(Duration::from_secs(300)));
    }

    #[test]
    fn what_is_no_wait_is_no_hint() {
        for value in ["", "soon", "-1", "1.5", "+3"] {
            assert_eq!(retry_after(&headers(&[("retry-after", value)]), SystemTime::now), None, "{value}");
        }
        let endless = headers(&[("retry-after", "99999999999999999999999")]);
        assert_eq!(retry_after(&endless, SystemTime::now), Some(MAX_HINT));
    }

    #[test]
    fn pushback_waits_exactly_or_forbids() {
        let of = |value| Pushback::of(&headers(&[("grpc-retry-pushback-ms", value)]));
        assert_eq!(Pushback::of(&HeaderMap::new()), None);
        assert_eq!(of("1000"), Some(Pushback::After(Duration::from_secs(1))));
        assert_eq!(of("0"), Some(Pushback::After(Duration::ZERO)));
        for never in ["-1", "xxx", "", "1.5", "+1"] {
            assert_eq!(of(never), Some(Pushback::Never), "{never}");
        }
        let twice = headers(&[("grpc-retry-pushback-ms", "1"), ("grpc-retry-pushback-ms", "2")]);
        assert_eq!(Pushback::of(&twice), Some(Pushback::Never));
    }

    #[test]
    fn grpc_is_known_by_its_content_type() {
        let of = |value| is_grpc(&headers(&[("content-type", value)]));
        assert!(of("application/grpc") && of("application/grpc+json") && of("Application/GRPC;charset=x"));
        assert!(!of("application/grpc-web+proto") && !of("application/grpcx"));
        assert!(!of("application/json") && !of("") && !is_grpc(&HeaderMap::new()));
    }
}
