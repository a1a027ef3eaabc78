//! Policies by name.

mod values;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, de::Error};

use self::values::{bias, bound, choices, cookie, header, named, penalty, points, probes, quantile, size};
use super::{checked, choice, maybe_duration};
use crate::{
    policy::{
        Aperture, Boxed, EarliestDeadlineFirst, HashBy, LabelOrder, LabelSubset, LeastOf, LeastOfAll,
        LeastRequest, Maglev, Modulo, OrcaWeighted, Otherwise, OverrideHost, PeakEwma, PickFirst, Policy,
        Prequal, Random, RandomAperture, Rendezvous, RequestBias, RingHash, RoundRobin, Shard,
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
struct Latency {
    #[serde(deserialize_with = "maybe_duration")]
    decay: Option<Duration>,
    #[serde(deserialize_with = "maybe_duration")]
    default_latency: Option<Duration>,
    #[serde(deserialize_with = "maybe_duration")]
    penalty: Option<Duration>,
    classic: bool,
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
struct Ring {
    mode: Mode,
    hash: Hash,
    #[serde(deserialize_with = "points")]
    points: Option<u32>,
    least: Option<u64>,
    most: Option<u64>,
    #[serde(deserialize_with = "bound")]
    bound: Option<f64>,
    #[serde(deserialize_with = "header")]
    header: Option<String>,
    #[serde(deserialize_with = "cookie")]
    cookie: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Stable,
    Envoy,
    Grpc,
    Ketama,
}

/// What endpoints are placed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
enum Hash {
    #[default]
    #[serde(rename = "xx_hash")]
    Xx,
    #[serde(rename = "murmur_hash_2")]
    Murmur,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Slots {
    #[serde(deserialize_with = "bound")]
    bound: Option<f64>,
    #[serde(deserialize_with = "size")]
    size: Option<u64>,
    #[serde(deserialize_with = "header")]
    header: Option<String>,
    #[serde(deserialize_with = "cookie")]
    cookie: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ByHeader {
    #[serde(deserialize_with = "header")]
    header: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Keyed {
    #[serde(deserialize_with = "header")]
    header: Option<String>,
    #[serde(deserialize_with = "cookie")]
    cookie: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Part {
    instance: u32,
    peers: u32,
    least: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Few {
    least: Option<usize>,
    low: Option<f64>,
    high: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Reports {
    #[serde(deserialize_with = "maybe_duration")]
    blackout: Option<Duration>,
    #[serde(deserialize_with = "maybe_duration")]
    expiration: Option<Duration>,
    #[serde(deserialize_with = "maybe_duration")]
    update: Option<Duration>,
    metrics: Vec<String>,
    #[serde(deserialize_with = "penalty")]
    penalty: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Probes {
    #[serde(deserialize_with = "probes")]
    probes: Option<u32>,
    #[serde(deserialize_with = "quantile")]
    quantile: Option<f64>,
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
            Self::Modulo(ByHeader { header: Some(name) }) => {
                Boxed::new(HashBy::header_with(name, Modulo::hash, Modulo)?)
            }
            Self::Modulo(_) => Boxed::new(Modulo),
            Self::Shard(_) => Boxed::new(Shard),
            Self::Aperture(part) => Boxed::new(part.build()?),
            Self::RandomAperture(few) => Boxed::new(few.build()?),
            Self::OrcaWeighted(reports) => Boxed::new(reports.build()?),
            Self::Prequal(probes) => Boxed::new(
                Prequal::new()
                    .probes(probes.probes.unwrap_or(3))?
                    .quantile(probes.quantile.unwrap_or(0.84))?,
            ),
            Self::LabelOrder(order) => Boxed::new(
                order.labels.iter().fold(LabelOrder::new(), |policy, (key, value)| policy.then(key, value)),
            ),
            Self::LabelSubset(labels) => Boxed::new(labels.build()?),
            Self::OverrideHost(host) => Boxed::new(host.build()?),
        })
    }
}

/// By what of a request is named; else by what requests have in their extensions.
fn hashed<P: Policy>(policy: P, header: Option<&str>, cookie: Option<&str>) -> Result<Boxed, InvalidSetting> {
    Ok(match (header, cookie) {
        (Some(name), None) => Boxed::new(HashBy::header(name, policy)?),
        (None, Some(name)) => Boxed::new(HashBy::cookie(name, policy)),
        (None, None) => Boxed::new(policy),
        (Some(_), Some(_)) => {
            let one = "either `header` or `cookie`";
            return Err(InvalidSetting::new("what requests are hashed by", "both", one));
        }
    })
}

impl Slots {
    fn boxed(&self) -> Result<Boxed, InvalidSetting> {
        let maglev = Maglev::with_size(self.size.unwrap_or(65_537))?;
        let maglev = self.bound.map_or(Ok(maglev.clone()), |bound| maglev.bounded(bound))?;
        hashed(maglev, self.header.as_deref(), self.cookie.as_deref())
    }
}

impl Keyed {
    fn boxed(&self) -> Result<Boxed, InvalidSetting> {
        hashed(Rendezvous, self.header.as_deref(), self.cookie.as_deref())
    }
}

impl Latency {
    fn build(&self) -> PeakEwma {
        let mut policy = PeakEwma::new();
        if let Some(decay) = self.decay {
            policy = policy.decay(decay);
        }
        if let Some(latency) = self.default_latency {
            policy = policy.default_latency(latency);
        }
        if let Some(penalty) = self.penalty {
            policy = policy.penalty(penalty);
        }
        if self.classic { policy.classic() } else { policy }
    }
}

impl First {
    fn build(&self) -> PickFirst {
        let policy = self.delay.map_or_else(PickFirst::new, |delay| PickFirst::new().delay(delay));
        if self.shuffle { policy.shuffled() } else { policy }
    }
}

impl Ring {
    fn boxed(&self) -> Result<Boxed, InvalidSetting> {
        let ring = self.build()?;
        match (&self.header, self.mode) {
            (None, Mode::Ketama) if self.cookie.is_none() => Ok(Boxed::new(ring)),
            (Some(name), Mode::Ketama) if self.cookie.is_none() => {
                let hasher = ring.clone();
                Ok(Boxed::new(HashBy::header_with(name, move |key| hasher.hash(key), ring)?))
            }
            (_, Mode::Ketama) => {
                Err(InvalidSetting::new("what requests are hashed by", "cookie", "but for ketama"))
            }
            (header, _) => hashed(ring, header.as_deref(), self.cookie.as_deref()),
        }
    }

    fn build(&self) -> Result<RingHash, InvalidSetting> {
        let unused = match self.mode {
            Mode::Stable => [None, self.least.map(|_| "least"), self.most.map(|_| "most")],
            Mode::Envoy | Mode::Grpc => [self.points.map(|_| "points"), None, None],
            Mode::Ketama => {
                [self.points.map(|_| "points"), self.least.map(|_| "least"), self.most.map(|_| "most")]
            }
        };
        if let Some(key) = unused.into_iter().flatten().next() {
            let allowed =
                "`points` of a stable ring, `least` and `most` of Envoy's and gRPC's, neither of ketama";
            return Err(InvalidSetting::new("a setting of a ring", key, allowed));
        }
        if self.hash == Hash::Murmur && !matches!(self.mode, Mode::Envoy) {
            return Err(InvalidSetting::new(
                "the hash of a ring",
                "murmur_hash_2",
                "xx_hash but for Envoy's",
            ));
        }
        let size = |most| (self.least.unwrap_or(1_024), self.most.unwrap_or(most));
        let ring = match self.mode {
            Mode::Stable => RingHash::with_points(self.points.unwrap_or(160))?,
            Mode::Envoy => RingHash::envoy(size(8_388_608).0, size(8_388_608).1)?,
            Mode::Grpc => RingHash::grpc(size(4_096).0, size(4_096).1)?,
            Mode::Ketama => RingHash::ketama(),
        };
        let ring = if self.hash == Hash::Murmur { ring.murmur_hash_2() } else { ring };
        self.bound.map_or(Ok(ring.clone()), |bound| ring.bounded(bound))
    }
}

impl Part {
    fn build(&self) -> Result<Aperture, InvalidSetting> {
        Ok(Aperture::new(self.instance, self.peers)?.least(self.least.unwrap_or(12)))
    }
}

impl Few {
    fn build(&self) -> Result<RandomAperture, InvalidSetting> {
        let band = (self.low.unwrap_or(0.875), self.high.unwrap_or(1.125));
        RandomAperture::new().least(self.least.unwrap_or(1)).band(band.0, band.1)
    }
}

impl Reports {
    fn build(&self) -> Result<OrcaWeighted, InvalidSetting> {
        let mut policy = OrcaWeighted::new().penalty(self.penalty.unwrap_or(1.0))?;
        if let Some(blackout) = self.blackout {
            policy = policy.blackout(blackout);
        }
        if let Some(expiration) = self.expiration {
            policy = policy.expiration(expiration);
        }
        if let Some(update) = self.update {
            policy = policy.update(update);
        }
        Ok(self.metrics.iter().fold(policy, |policy, name| policy.metric(name)))
    }
}

impl Labels {
    fn build(&self) -> Result<LabelSubset<Boxed>, InvalidSetting> {
        if self.by.is_empty() && self.by_or.is_empty() && !matches!(self.otherwise, Fallback::Those(_)) {
            let keys = "at least one set of keys, in `by` or `by_or`";
            return Err(InvalidSetting::new("what requests may ask for", "nothing", keys));
        }
        let policy = LabelSubset::new(self.policy.build()).otherwise(match &self.otherwise {
            Fallback::Anybody => Otherwise::Anybody,
            Fallback::Nobody => Otherwise::Nobody,
            Fallback::Those(labels) => Otherwise::Those(labels.clone()),
        });
        let policy = self.by.iter().fold(policy, |policy, keys| policy.by(keys));
        self.by_or.iter().try_fold(policy, |policy, (keys, fewer)| policy.by_or(keys, fewer))
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
