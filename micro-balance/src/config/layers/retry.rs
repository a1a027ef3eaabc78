//! What is sent again.

use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Deserializer, de::Error};

use super::{backoff::backoff, budget::budget, some};
use crate::{
    config::maybe_duration,
    retry::{Backoff, Budget, RetryLayer, When},
};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Retries {
    #[serde(deserialize_with = "some")]
    attempts: Option<u32>,
    keep: Option<usize>,
    #[serde(deserialize_with = "maybe_duration")]
    look: Option<Duration>,
    whole: Option<u64>,
    #[serde(deserialize_with = "maybe_duration")]
    attempt_timeout: Option<Duration>,
    codes: Option<Vec<u16>>,
    statuses: Option<Vec<u16>>,
    #[serde(deserialize_with = "budget")]
    budget: Option<Budget>,
    #[serde(deserialize_with = "backoff")]
    backoff: Option<Backoff>,
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
    layer = retries.attempt_timeout.map_or(layer.clone(), |limit| layer.attempt_timeout(limit));
    layer = retries.budget.map_or(layer.clone(), |budget| layer.budget(budget));
    layer = retries.backoff.map_or(layer.clone(), |backoff| layer.backoff(backoff));
    if retries.codes.is_some() || retries.statuses.is_some() {
        let mut when = When::never();
        for code in retries.codes.unwrap_or_else(|| vec![14]) {
            if !(1..=16).contains(&code) {
                return Err(D::Error::custom(format_args!("{code} is no gRPC code of a failure")));
            }
            when = when.code(code);
        }
        for status in retries.statuses.unwrap_or_else(|| vec![502, 503, 504]) {
            let known = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() < 600);
            when = when
                .status(known.ok_or_else(|| D::Error::custom(format_args!("{status} is no HTTP status")))?);
        }
        layer = layer.when(when);
    }
    Ok(Some(layer))
}
