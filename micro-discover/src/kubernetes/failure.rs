//! Why the API server did not do what it was asked, and what that means for the next try.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use tower::BoxError;

use super::slice::Status;

/// The API server knows who asks and does not allow it: a Role and its binding are missing.
///
/// The source of the [`Error`](crate::Error) that a watch or a question ends with; the last good set is kept.
#[derive(Clone, Debug, thiserror::Error)]
#[error("forbidden: {message}")]
pub struct Forbidden {
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// 410, in whatever form, or a stream that makes no sense: only a new list helps.
    Expired,
    Unauthorized,
    Forbidden,
    /// The request has a form that this server does not know.
    Unsupported,
    /// Nothing has answered.
    Unreachable,
    Other,
}

#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) retry_after: Option<Duration>,
    pub(super) message: String,
}

/// Nobody may make a client wait longer than this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

impl Failure {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, retry_after: None, message: message.into() }
    }

    pub(super) fn unreachable(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self::new(Kind::Unreachable, message)
    }

    /// Reads an answer that is no success. Its body may be a `Status`, part of one, text or a proxy's page.
    pub(super) fn answered(code: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let status = serde_json::from_slice::<Status>(body).unwrap_or_default();
        let text = match status.message.as_str() {
            "" => String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned(),
            message => message.to_owned(),
        };
        let mut failure = Self::of_code(code.as_u16(), &text);
        failure.retry_after = retry_after(headers).or_else(|| details(&status));
        failure
    }

    /// Reads the `ERROR` event of a watch.
    pub(super) fn in_stream(status: &Status) -> Self {
        let code = if status.reason == "Expired" { 410 } else { status.code };
        let mut failure = Self::of_code(code, &status.message);
        failure.retry_after = details(status);
        failure
    }

    fn of_code(code: u16, text: &str) -> Self {
        let kind = match code {
            410 => Kind::Expired,
            401 => Kind::Unauthorized,
            403 => Kind::Forbidden,
            400 | 405 | 422 => Kind::Unsupported,
            _ => Kind::Other,
        };
        Self::new(kind, format!("{code} {text}"))
    }

    pub(super) fn source(&self) -> BoxError {
        match self.kind {
            Kind::Forbidden => Forbidden { message: self.message.clone() }.into(),
            _ => self.message.clone().into(),
        }
    }
}

fn details(status: &Status) -> Option<Duration> {
    let seconds = status.details.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}
