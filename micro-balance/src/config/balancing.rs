//! A balancer's policy and eligibility.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, de::Error};

use super::{PolicyConfig, checked, choice};
use crate::eligible::{
    Locality, Priority, SlowStart, Subset,
    locality::{Prefer, ZoneAware, ZoneWeights},
};

/// Which endpoint is next, and among which: the settings of a balancer that are about this.
///
/// ```toml
/// policy = "least_request"
/// priority = "proportional"
///
/// [subset.random]
/// size = 20
///
/// [locality.prefer]
/// zone = "eu-west-1a"
///
/// [slow_start]
/// window = "30s"
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of settings")]
#[non_exhaustive]
pub struct Balancing {
    /// Which endpoint is next; `peak_ewma` unless given.
    pub policy: PolicyConfig,
    /// Which part of the endpoints is used; all unless given.
    #[serde(deserialize_with = "subset")]
    pub subset: Option<Subset>,
    /// How priorities stand in for each other; `failover` unless given.
    #[serde(deserialize_with = "priority")]
    pub priority: Priority,
    /// How zones share requests; not at all unless given.
    #[serde(deserialize_with = "locality")]
    pub locality: Locality,
    /// How endpoints that are new are spared; not at all unless given.
    #[serde(deserialize_with = "slow_start")]
    pub slow_start: Option<SlowStart>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum SubsetChoice {
    Random(RandomSubset),
    Deterministic(NumberedSubset),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RandomSubset {
    #[serde(deserialize_with = "some")]
    size: usize,
    seed: Option<u64>,
    #[serde(default)]
    as_grpc_go: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NumberedSubset {
    #[serde(deserialize_with = "some")]
    size: usize,
    client: u64,
}

fn some<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    checked(from, |size: &usize| if *size > 0 { Ok(()) } else { Err("at least 1") })
}

fn subset<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Subset>, D::Error> {
    Ok(Some(match choice(from)? {
        SubsetChoice::Random(random) => {
            let subset = Subset::random(random.size);
            let subset = if random.as_grpc_go { subset.as_grpc_go() } else { subset };
            random.seed.map_or(subset, |seed| subset.seed(seed))
        }
        SubsetChoice::Deterministic(numbered) => Subset::deterministic(numbered.size, numbered.client),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum PriorityChoice {
    Failover(Failover),
    Proportional(Proportional),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failover {
    #[serde(default, deserialize_with = "super::maybe_duration")]
    patience: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proportional {
    #[serde(default, deserialize_with = "one")]
    overprovisioning: Option<u32>,
}

fn one<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    checked(from, |count: &u32| if *count > 0 { Ok(()) } else { Err("at least 1") }).map(Some)
}

fn priority<'de, D: Deserializer<'de>>(from: D) -> Result<Priority, D::Error> {
    Ok(match choice(from)? {
        PriorityChoice::Failover(Failover { patience }) => {
            Priority::failover().patience(patience.unwrap_or_default())
        }
        PriorityChoice::Proportional(Proportional { overprovisioning }) => {
            Priority::proportional().overprovisioning(overprovisioning.unwrap_or(140))
        }
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum LocalityChoice {
    Any(Anywhere),
    Prefer(Preferred),
    Weighted(Weighted),
    ZoneAware(Aware),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Anywhere {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Preferred {
    zone: String,
    #[serde(default, deserialize_with = "maybe_percent")]
    while_percent: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weighted {
    #[serde(deserialize_with = "zones")]
    weights: BTreeMap<String, u32>,
    #[serde(default, deserialize_with = "one")]
    overprovisioning: Option<u32>,
}

/// A number for each zone, and one that is not 0.
fn zones<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, u32>, D::Error> {
    let some = |zones: &BTreeMap<String, u32>| zones.values().any(|&count| count > 0);
    checked(from, |zones| if some(zones) { Ok(()) } else { Err("no zone has more than 0") })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Aware {
    zone: String,
    #[serde(deserialize_with = "zones")]
    peers: BTreeMap<String, u32>,
    least: Option<usize>,
    #[serde(default, deserialize_with = "one")]
    force_local: Option<u32>,
    #[serde(default, deserialize_with = "maybe_percent")]
    percent: Option<u32>,
}

fn maybe_percent<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    super::percent(from).map(Some)
}

fn locality<'de, D: Deserializer<'de>>(from: D) -> Result<Locality, D::Error> {
    Ok(match choice(from)? {
        LocalityChoice::Any(Anywhere {}) => Locality::Any,
        LocalityChoice::Prefer(preferred) => {
            let prefer = Prefer::new(preferred.zone);
            Locality::Prefer(match preferred.while_percent {
                Some(percent) => prefer.while_percent(percent),
                None => prefer,
            })
        }
        LocalityChoice::Weighted(Weighted { weights, overprovisioning }) => {
            Locality::Weighted(ZoneWeights::new(weights).overprovisioning(overprovisioning.unwrap_or(140)))
        }
        LocalityChoice::ZoneAware(aware) if !aware.peers.contains_key(&aware.zone) => {
            let zone = aware.zone;
            return Err(D::Error::custom(format_args!("there are no peers in {zone:?}, the zone itself")));
        }
        LocalityChoice::ZoneAware(aware) => {
            let zone_aware = ZoneAware::new(aware.zone, aware.peers).least(aware.least.unwrap_or(6));
            let zone_aware = zone_aware.percent(aware.percent.unwrap_or(100));
            Locality::ZoneAware(match aware.force_local {
                Some(endpoints) => zone_aware.force_local(endpoints),
                None => zone_aware,
            })
        }
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of settings, { window = \"30s\" } for one")]
struct Slow {
    #[serde(deserialize_with = "super::some_time")]
    window: Duration,
    #[serde(default, deserialize_with = "aggression")]
    aggression: Option<f64>,
    #[serde(default, deserialize_with = "maybe_percent")]
    min_percent: Option<u32>,
}

fn aggression<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    checked(from, |aggression: &f64| SlowStart::new(Duration::MAX).aggression(*aggression)).map(Some)
}

fn slow_start<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SlowStart>, D::Error> {
    let slow = Slow::deserialize(from)?;
    let slow_start = SlowStart::new(slow.window).min_percent(slow.min_percent.unwrap_or(10));
    slow_start.aggression(slow.aggression.unwrap_or(1.0)).map(Some).map_err(D::Error::custom)
}
