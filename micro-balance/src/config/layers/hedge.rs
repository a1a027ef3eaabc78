//! What is sent twice.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use super::{
    budget::budget,
    code::Code,
    retry::{Header, Status, when},
};
use crate::{
    config::{checked, maybe_duration},
    hedge::HedgeLayer,
    retry::Budget,
};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of settings, { percentile = 0.95 } for one")]
struct Hedges {
    #[serde(deserialize_with = "maybe_duration")]
    after: Option<Duration>,
    #[serde(deserialize_with = "percentile")]
    percentile: Option<f64>,
    #[serde(deserialize_with = "attempts")]
    attempts: Option<u32>,
    keep: Option<usize>,
    non_fatal: Option<NonFatal>,
    #[serde(deserialize_with = "budget")]
    budget: Option<Budget>,
}

/// Failures that have the next attempt sent at once.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NonFatal {
    codes: Option<Vec<Code>>,
    statuses: Option<Vec<Status>>,
    headers: Vec<Header>,
}

fn percentile<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    checked(from, |part: &f64| HedgeLayer::percentile(*part)).map(Some)
}

fn attempts<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    checked(from, |attempts: &u32| if (2..=5).contains(attempts) { Ok(()) } else { Err("2 to 5") }).map(Some)
}

pub(super) fn hedge<'de, D: Deserializer<'de>>(from: D) -> Result<Option<HedgeLayer>, D::Error> {
    let hedges = Hedges::deserialize(from)?;
    let mut layer = match (hedges.after, hedges.percentile) {
        (Some(after), None) => HedgeLayer::after(after),
        (None, Some(part)) => HedgeLayer::percentile(part).map_err(D::Error::custom)?,
        _ => return Err(D::Error::custom("either `after` or `percentile` says when to hedge")),
    };
    layer = hedges.attempts.map_or(layer.clone(), |attempts| layer.attempts(attempts));
    layer = hedges.keep.map_or(layer.clone(), |bytes| layer.keep(bytes));
    layer = hedges.non_fatal.map_or(layer.clone(), |failures| {
        layer.non_fatal(when(failures.codes, failures.statuses, failures.headers))
    });
    layer = hedges.budget.map_or(layer.clone(), |budget| layer.budget(budget));
    Ok(Some(layer))
}
