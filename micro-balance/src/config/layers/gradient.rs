//! A limit that follows the ratio of the latency without load to the present one.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use super::{part, set, some, some_time};
use crate::{config::checked, limit::Gradient};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct GradientSettings {
    #[serde(deserialize_with = "some")]
    min: Option<u32>,
    #[serde(deserialize_with = "some")]
    max: Option<u32>,
    #[serde(deserialize_with = "buffer")]
    buffer: Option<f64>,
    #[serde(deserialize_with = "part")]
    percentile: Option<f64>,
    #[serde(deserialize_with = "some_time")]
    interval: Option<Duration>,
    #[serde(deserialize_with = "some_time")]
    fastest: Option<Duration>,
    probe: Option<Probe>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Probe {
    #[serde(deserialize_with = "some")]
    requests: Option<u32>,
    #[serde(deserialize_with = "some_time")]
    every: Option<Duration>,
    #[serde(deserialize_with = "part")]
    jitter: Option<f64>,
}

fn buffer<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    checked(from, |part: &f64| if part.is_finite() && *part >= 0.0 { Ok(()) } else { Err("at least 0") })
        .map(Some)
}

pub(super) fn gradient<E: Error>(settings: GradientSettings) -> Result<Gradient, E> {
    let GradientSettings { min, max, buffer, percentile, interval, fastest, probe } = settings;
    let (min, max) = (min.unwrap_or(3), max.unwrap_or(1000));
    if min > max {
        return Err(E::custom(format_args!("min {min} is over max {max}")));
    }
    let mut gradient = Gradient::default().range(min, max);
    gradient = set(gradient, buffer, Gradient::buffer);
    gradient = set(gradient, percentile, Gradient::percentile);
    gradient = set(gradient, interval, Gradient::interval);
    match (fastest, probe.unwrap_or_default()) {
        (fastest, Probe { requests: None, every: None, jitter: None }) => {
            Ok(set(gradient, fastest, Gradient::fastest))
        }
        (None, Probe { requests, every, jitter }) => Ok(gradient.probe(
            requests.unwrap_or(50),
            every.unwrap_or(Duration::from_secs(60)),
            jitter.unwrap_or(0.15),
        )),
        (Some(_), _) => Err(E::custom("what is known (`fastest`) is not measured (`probe`)")),
    }
}
