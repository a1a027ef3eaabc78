//! What is turned away early.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use super::{part, some_time};
use crate::{
    config::{checked, duration},
    failfast::FailfastLayer,
    throttle::ThrottleLayer,
};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of settings, which may be empty")]
struct Throttling {
    preset: Preset,
    #[serde(deserialize_with = "k")]
    k: Option<f64>,
    #[serde(deserialize_with = "aggression")]
    aggression: Option<f64>,
    #[serde(deserialize_with = "part")]
    at_most: Option<f64>,
    #[serde(deserialize_with = "min_rate")]
    min_rate: Option<f64>,
    #[serde(deserialize_with = "some_time")]
    window: Option<Duration>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Preset {
    #[default]
    Default,
    Envoy,
}

fn k<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    checked(from, |k: &f64| ThrottleLayer::new().k(*k)).map(Some)
}

fn aggression<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    checked(from, |aggression: &f64| ThrottleLayer::new().aggression(*aggression)).map(Some)
}

fn min_rate<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    checked(from, |rate: &f64| ThrottleLayer::new().min_rate(*rate)).map(Some)
}

pub(super) fn throttle<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ThrottleLayer>, D::Error> {
    let Throttling { preset, k, aggression, at_most, min_rate, window } = Throttling::deserialize(from)?;
    let layer = match preset {
        Preset::Default => ThrottleLayer::new(),
        Preset::Envoy => ThrottleLayer::envoy(),
    };
    let layer = window.map_or(layer.clone(), |window| layer.window(window));
    let layer = k.map_or(Ok(layer.clone()), |k| layer.k(k)).map_err(D::Error::custom)?;
    let layer = at_most.map_or(Ok(layer.clone()), |part| layer.at_most(part)).map_err(D::Error::custom)?;
    let layer = min_rate.map_or(Ok(layer.clone()), |rate| layer.min_rate(rate)).map_err(D::Error::custom)?;
    aggression.map_or(Ok(layer.clone()), |it| layer.aggression(it)).map(Some).map_err(D::Error::custom)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of settings, { limit = \"3s\" } for one")]
struct Failfast {
    #[serde(deserialize_with = "duration")]
    limit: Duration,
    queue: Option<u32>,
}

pub(super) fn failfast<'de, D: Deserializer<'de>>(from: D) -> Result<Option<FailfastLayer>, D::Error> {
    let Failfast { limit, queue } = Failfast::deserialize(from)?;
    let layer = FailfastLayer::new(limit);
    Ok(Some(queue.map_or(layer.clone(), |queue| layer.queue(queue))))
}
