//! What is sent twice.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use super::{budget::budget, some};
use crate::{config::maybe_duration, hedge::HedgeLayer, retry::Budget};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Hedges {
    #[serde(deserialize_with = "maybe_duration")]
    after: Option<Duration>,
    percentile: Option<f64>,
    #[serde(deserialize_with = "some")]
    attempts: Option<u32>,
    keep: Option<usize>,
    #[serde(deserialize_with = "budget")]
    budget: Option<Budget>,
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
    layer = hedges.budget.map_or(layer.clone(), |budget| layer.budget(budget));
    Ok(Some(layer))
}
