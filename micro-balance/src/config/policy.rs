//! Policies by name.

mod by_key;
mod by_load;
mod values;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, de::Error};

use self::{
    by_key::{ByHeader, Keyed, Ring, Slots},
    by_load::{Few, Latency, Part, Probes, Reports},
    values::{bias, choices, cookie, named},
};
use super::{checked, choice, maybe_duration};
use crate::{
    policy::{
        Boxed, EarliestDeadlineFirst, FirstAttempts, LabelOrder, LabelSubset, LeastOf, LeastOfAll,
        LeastRequest, Otherwise, OverrideHost, PeakEwma, PickFirst, Random, RequestBias, RoundRobin, Shard,
        SmoothWeightedRoundRobin, Source, WeightedRoundRobin,
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

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Order {
    /// Pairs of key and value, the most preferred first.
    labels: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Labels {
    /// Sets of keys that requests may ask for.
    by: Vec<Vec<String>>,
    /// Such sets, and fewer of their keys to fall back to.
    by_or: Vec<(Vec<String>, Vec<String>)>,
    /// Such sets, and who takes requests for what nobody has of them.
    by_otherwise: Vec<(Vec<String>, Fallback)>,
    redundant: bool,
    otherwise: Fallback,
    policy: Box<PolicyConfig>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fallback {
    #[default]
    Anybody,
    Nobody,
    Those(BTreeMap<String, String>),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Spared {
    /// Pairs of key and value.
    labels: Vec<(String, String)>,
    policy: Box<PolicyConfig>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Host {
    /// Asked unless told otherwise where nothing else is.
    extension: Option<bool>,
    #[serde(deserialize_with = "named")]
    header: Option<String>,
    #[serde(deserialize_with = "cookie")]
    cookie: Option<String>,
    strict: bool,
    policy: Box<PolicyConfig>,
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
            Self::LabelOrder(order) => Boxed::new(
                order.labels.iter().fold(LabelOrder::new(), |policy, (key, value)| policy.then(key, value)),
            ),
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

impl Labels {
    fn build(&self) -> Result<LabelSubset<Boxed>, InvalidSetting> {
        let any = !(self.by.is_empty() && self.by_or.is_empty() && self.by_otherwise.is_empty());
        if !any && !matches!(self.otherwise, Fallback::Those(_)) {
            let keys = "at least one set of keys, in `by`, `by_or` or `by_otherwise`";
            return Err(InvalidSetting::new("what requests may ask for", "nothing", keys));
        }
        let policy = LabelSubset::new(self.policy.build()).otherwise(self.otherwise.build());
        let policy = if self.redundant { policy.redundant() } else { policy };
        let policy = self.by.iter().fold(policy, |policy, keys| policy.by(keys));
        let policy = self
            .by_otherwise
            .iter()
            .fold(policy, |policy, (keys, otherwise)| policy.by_otherwise(keys, otherwise.build()));
        self.by_or.iter().try_fold(policy, |policy, (keys, fewer)| policy.by_or(keys, fewer))
    }
}

impl Spared {
    fn build(&self) -> Result<FirstAttempts<Boxed>, InvalidSetting> {
        let Some(((key, value), others)) = self.labels.split_first() else {
            let labels = "at least one pair, in `labels`";
            return Err(InvalidSetting::new("the labels of those that are spared", "none", labels));
        };
        let policy = FirstAttempts::new(self.policy.build(), key, value);
        Ok(others.iter().fold(policy, |policy, (key, value)| policy.and(key, value)))
    }
}

impl Fallback {
    fn build(&self) -> Otherwise {
        match self {
            Self::Anybody => Otherwise::Anybody,
            Self::Nobody => Otherwise::Nobody,
            Self::Those(labels) => Otherwise::Those(labels.clone()),
        }
    }
}

impl Host {
    fn build(&self) -> Result<OverrideHost<Boxed>, InvalidSetting> {
        let mut policy = OverrideHost::new(self.policy.build());
        let others = self.header.is_some() || self.cookie.is_some();
        match self.extension {
            Some(false) if !others => {
                let sources = "one of `extension`, `header` and `cookie`";
                return Err(InvalidSetting::new("what names the endpoint", "nobody", sources));
            }
            Some(false) => {}
            None if others => {}
            _ => policy = policy.by(Source::Extension),
        }
        if let Some(name) = &self.header {
            policy = policy.by(Source::header(name)?);
        }
        if let Some(name) = &self.cookie {
            policy = policy.by(Source::cookie(name));
        }
        Ok(if self.strict { policy.strict() } else { policy })
    }
}
