//! When a service is left alone.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use super::{backoff::backoff, part, some, some_time};
use crate::{
    breaker::{BreakerLayer, Rate},
    retry::Backoff,
};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of settings, which may be empty")]
struct Breaking {
    consecutive_failures: Option<u32>,
    #[serde(deserialize_with = "rate")]
    success_rate: Option<Rate>,
    #[serde(deserialize_with = "backoff")]
    backoff: Option<Backoff>,
}

pub(super) fn breaker<'de, D: Deserializer<'de>>(from: D) -> Result<Option<BreakerLayer>, D::Error> {
    let Breaking { consecutive_failures, success_rate, backoff } = Breaking::deserialize(from)?;
    let mut layer = BreakerLayer::new();
    if let Some(failures) = consecutive_failures {
        layer = layer.consecutive_failures(failures);
    }
    if success_rate.is_some() {
        layer = layer.success_rate(success_rate);
    }
    if let Some(backoff) = backoff {
        layer = layer.backoff(backoff);
    }
    Ok(Some(layer))
}

#[derive(Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table of settings, { required = 0.8, window = \"30s\" } for one"
)]
struct Kept {
    #[serde(deserialize_with = "part")]
    required: Option<f64>,
    #[serde(deserialize_with = "some_time")]
    window: Option<Duration>,
    #[serde(deserialize_with = "some")]
    requests: Option<u32>,
    min_requests: Option<u32>,
    exact: bool,
}

fn rate<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Rate>, D::Error> {
    let Kept { required, window, requests, min_requests, exact } = Kept::deserialize(from)?;
    let required = required.unwrap_or(0.8);
    let rate = match (window, requests) {
        (None, Some(_)) if exact || min_requests.is_some() => {
            return Err(D::Error::custom("min_requests and exact are of a window of time"));
        }
        (None, Some(requests)) => Rate::of_requests(required, requests),
        (window, None) => {
            let window = window.unwrap_or(Duration::from_secs(30));
            let rate = if exact { Rate::exact(required, window) } else { Rate::within(required, window) };
            rate.map(|rate| rate.min_requests(min_requests.unwrap_or(5)))
        }
        (Some(_), Some(_)) => return Err(D::Error::custom("either a window or a number of requests")),
    };
    rate.map(Some).map_err(D::Error::custom)
}
