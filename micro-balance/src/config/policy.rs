//! Policies by name.

mod by_key;
mod by_label;
mod by_load;
mod values;

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use self::{
    by_key::{ByHeader, Keyed, Ring, Slots},
    by_label::{Host, Labels, Order, Spared},
    by_load::{Few, Latency, Part, Probes, Reports},
    values::{bias, choices},
};
use super::{checked, choice, maybe_duration};
use crate::{
    policy::{
        Boxed, EarliestDeadlineFirst, LeastOf, LeastOfAll, LeastRequest, PeakEwma, PickFirst, Random,
        RequestBias, RoundRobin, Shard, SmoothWeightedRoundRobin, WeightedRoundRobin,
    },
    setting::InvalidSetting,
};

/// A policy and its settings: `"peak_ewma"`, or `{ ring_hash = { bound = 1.25 } }`.
#[derive(Clone, Debug)]
pub struct PolicyConfig(Named);

impl PolicyConfig {
    /// A policy of its own for a balancer.
    pub fn build(&self) -> Boxed {
        // It was built once when it was read, and nothing it is made of can have changed.
        self.0.build().unwrap_or_else(|_| Boxed::new(PeakEwma::new()))
    }
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self(Named::PeakEwma(Latency::default()))
    }
}

impl<'de> Deserialize<'de> for PolicyConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let named: Named = choice(from)?;
        named.build().map_err(D::Error::custom)?;
        Ok(Self(named))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Named {
    Random(Nothing),
    RoundRobin(Nothing),
    WeightedRoundRobin(Clamped),
    SmoothWeightedRoundRobin(Nothing),
    EarliestDeadlineFirst(Nothing),
    LeastRequest(Choices),
    LeastOfAll(Nothing),
    RequestBias(Bias),
    PeakEwma(Latency),
    PickFirst(First),
    RingHash(#[serde(deserialize_with = "ring")] Ring),
    Maglev(#[serde(deserialize_with = "slots")] Slots),
    Rendezvous(#[serde(deserialize_with = "keyed")] Keyed),
    Modulo(ByHeader),
    Shard(Nothing),
    Aperture(#[serde(deserialize_with = "part")] Part),
    RandomAperture(#[serde(deserialize_with = "few")] Few),
    OrcaWeighted(Reports),
    Prequal(Probes),
    LabelOrder(Order),
    LabelSubset(#[serde(deserialize_with = "labels")] Labels),
    OverrideHost(#[serde(deserialize_with = "host")] Host),
    FirstAttempts(#[serde(deserialize_with = "spared")] Spared),
}

fn ring<'de, D: Deserializer<'de>>(from: D) -> Result<Ring, D::Error> {
    checked(from, Ring::boxed)
}

fn slots<'de, D: Deserializer<'de>>(from: D) -> Result<Slots, D::Error> {
    checked(from, Slots::boxed)
}

fn keyed<'de, D: Deserializer<'de>>(from: D) -> Result<Keyed, D::Error> {
    checked(from, Keyed::boxed)
}

fn part<'de, D: Deserializer<'de>>(from: D) -> Result<Part, D::Error> {
    checked(from, Part::build)
}

fn few<'de, D: Deserializer<'de>>(from: D) -> Result<Few, D::Error> {
    checked(from, Few::build)
}

fn labels<'de, D: Deserializer<'de>>(from: D) -> Result<Labels, D::Error> {
    checked(from, Labels::build)
}

fn host<'de, D: Deserializer<'de>>(from: D) -> Result<Host, D::Error> {
    checked(from, Host::build)
}

fn spared<'de, D: Deserializer<'de>>(from: D) -> Result<Spared, D::Error> {
    checked(from, Spared::build)
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Nothing {}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Clamped {
    clamped: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Choices {
    #[serde(deserialize_with = "choices")]
    choices: Option<u8>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Bias {
    #[serde(deserialize_with = "bias")]
    bias: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct First {
    #[serde(deserialize_with = "maybe_duration")]
    delay: Option<Duration>,
    shuffle: bool,
}

impl Named {
    fn build(&self) -> Result<Boxed, InvalidSetting> {
        Ok(match self {
            Self::Random(_) => Boxed::new(Random),
            Self::RoundRobin(_) => Boxed::new(RoundRobin::new()),
            Self::WeightedRoundRobin(Clamped { clamped: true }) => {
                Boxed::new(WeightedRoundRobin::new().clamped())
            }
            Self::WeightedRoundRobin(_) => Boxed::new(WeightedRoundRobin::new()),
            Self::SmoothWeightedRoundRobin(_) => Boxed::new(SmoothWeightedRoundRobin::new()),
            Self::EarliestDeadlineFirst(_) => Boxed::new(EarliestDeadlineFirst::new()),
            Self::LeastRequest(Choices { choices: None }) => Boxed::new(LeastRequest),
            Self::LeastRequest(Choices { choices: Some(choices) }) => Boxed::new(LeastOf::choices(*choices)?),
            Self::LeastOfAll(_) => Boxed::new(LeastOfAll),
            Self::RequestBias(Bias { bias }) => Boxed::new(RequestBias::bias(bias.unwrap_or(1.0))?),
            Self::PeakEwma(latency) => Boxed::new(latency.build()),
            Self::PickFirst(first) => Boxed::new(first.build()),
            Self::RingHash(ring) => ring.boxed()?,
            Self::Maglev(slots) => slots.boxed()?,
            Self::Rendezvous(keyed) => keyed.boxed()?,
            Self::Modulo(modulo) => modulo.boxed()?,
            Self::Shard(_) => Boxed::new(Shard),
            Self::Aperture(part) => Boxed::new(part.build()?),
            Self::RandomAperture(few) => Boxed::new(few.build()?),
            Self::OrcaWeighted(reports) => Boxed::new(reports.build()?),
            Self::Prequal(probes) => Boxed::new(probes.build()?),
            Self::LabelOrder(order) => Boxed::new(order.build()),
            Self::LabelSubset(labels) => Boxed::new(labels.build()?),
            Self::OverrideHost(host) => Boxed::new(host.build()?),
            Self::FirstAttempts(spared) => Boxed::new(spared.build()?),
        })
    }
}

impl First {
    fn build(&self) -> PickFirst {
        let policy = self.delay.map_or_else(PickFirst::new, |delay| PickFirst::new().delay(delay));
        if self.shuffle { policy.shuffled() } else { policy }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn pick_first_is_shuffled_only_where_that_is_written() {
        let first = |said| format!("{:?}", from_value::<First>(said).unwrap().build());
        assert_eq!(first(json!({})), format!("{:?}", PickFirst::new()));
        let ours = PickFirst::new().delay(Duration::from_secs(1));
        assert_eq!(first(json!({ "delay": "1s" })), format!("{ours:?}"));
        assert!(first(json!({ "shuffle": true })).contains("shuffle: Some"));
    }
}
