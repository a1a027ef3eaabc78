//! What is sent again.

use std::time::Duration;

use http::{HeaderName, StatusCode};
use serde::{Deserialize, Deserializer};

use super::{backoff::backoff, budget::budget, code::Code, part, some, some_time};
use crate::{
    config::maybe_duration,
    retry::{Backoff, Budget, RetryLayer, When},
};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of settings, { attempts = 3 } for one")]
struct Retries {
    #[serde(deserialize_with = "some")]
    attempts: Option<u32>,
    keep: Option<usize>,
    #[serde(deserialize_with = "maybe_duration")]
    look: Option<Duration>,
    whole: Option<u64>,
    #[serde(deserialize_with = "some_time")]
    whole_timeout: Option<Duration>,
    share_time: bool,
    codes: Option<Vec<Code>>,
    statuses: Option<Vec<Status>>,
    headers: Vec<Header>,
    #[serde(deserialize_with = "budget")]
    budget: Option<Budget>,
    #[serde(deserialize_with = "backoff")]
    backoff: Option<Backoff>,
    #[serde(deserialize_with = "part")]
    retry_after_jitter: Option<f64>,
}

pub(super) fn retry<'de, D: Deserializer<'de>>(from: D) -> Result<Option<RetryLayer>, D::Error> {
    let retries = Retries::deserialize(from)?;
    let mut layer = RetryLayer::new();
    if let Some(attempts) = retries.attempts {
        // Whoever writes a number down means it.
        layer = layer.attempts(attempts).at_most(attempts);
    }
    layer = retries.keep.map_or(layer.clone(), |bytes| layer.keep(bytes));
    layer = retries.look.map_or(layer.clone(), |wait| layer.look(wait));
    layer = retries.whole.map_or(layer.clone(), |bytes| layer.whole(bytes));
    layer = retries.whole_timeout.map_or(layer.clone(), |limit| layer.whole_timeout(limit));
    layer = if retries.share_time { layer.share_time() } else { layer };
    layer = retries.budget.map_or(layer.clone(), |budget| layer.budget(budget));
    layer = retries.backoff.map_or(layer.clone(), |backoff| layer.backoff(backoff));
    layer = retries.retry_after_jitter.map_or(layer.clone(), |part| layer.retry_after_jitter(part));
    Ok(Some(layer.when(when(retries.codes, retries.statuses, retries.headers))))
}

/// What these mean together; codes and statuses have their defaults where they are not given.
pub(super) fn when(codes: Option<Vec<Code>>, statuses: Option<Vec<Status>>, headers: Vec<Header>) -> When {
    let codes = codes.unwrap_or_else(|| vec![Code::UNAVAILABLE]);
    let unavailable = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
    let statuses = statuses.unwrap_or_else(|| unavailable.map(Status).into());
    let when = codes.into_iter().fold(When::never(), |when, code| when.code(code.number()));
    let when = statuses.into_iter().fold(when, |when, Status(status)| when.status(status));
    headers.into_iter().fold(when, |when, Header(name)| when.header(name))
}

/// The name of a header.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Header(HeaderName);

impl TryFrom<String> for Header {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        HeaderName::try_from(&name).map(Self).map_err(|_| format!("{name:?} is no name of a header"))
    }
}

/// A status of HTTP.
#[derive(Deserialize)]
#[serde(try_from = "u16")]
pub(super) struct Status(StatusCode);

impl TryFrom<u16> for Status {
    type Error = String;

    fn try_from(status: u16) -> Result<Self, String> {
        let known = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() < 600);
        known.map(Self).ok_or_else(|| format!("{status} is no HTTP status"))
    }
}
