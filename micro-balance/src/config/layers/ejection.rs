//! When an endpoint that does badly is left out.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, de::Error};

use crate::{
    config::{checked, maybe_duration},
    eject::{Ejection, FailurePercentage, Latency, Reason, SuccessRate},
};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    preset: Preset,
    consecutive_failures: Option<u32>,
    gateway_failures: Option<u32>,
    local_failures: Option<u32>,
    success_rate: Option<Rate>,
    failure_percentage: Option<Percentage>,
    latency: Option<Slow>,
    enforcing: BTreeMap<String, u8>,
    #[serde(deserialize_with = "maybe_duration")]
    interval: Option<Duration>,
    #[serde(deserialize_with = "maybe_duration")]
    base: Option<Duration>,
    #[serde(deserialize_with = "maybe_duration")]
    max: Option<Duration>,
    #[serde(deserialize_with = "maybe_duration")]
    jitter: Option<Duration>,
    #[serde(deserialize_with = "percent")]
    max_percent: Option<u32>,
    #[serde(deserialize_with = "percent")]
    panic_percent: Option<u32>,
    fail_in_panic: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Preset {
    #[default]
    Default,
    Off,
    Envoy,
    Grpc,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Rate {
    #[serde(deserialize_with = "positive")]
    factor: f64,
    margin: f64,
    minimum_hosts: u32,
    request_volume: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { factor: 1.9, margin: 0.0, minimum_hosts: 5, request_volume: 100 }
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Percentage {
    #[serde(deserialize_with = "positive")]
    threshold: f64,
    inclusive: bool,
    minimum_hosts: u32,
    request_volume: u32,
}

impl Default for Percentage {
    fn default() -> Self {
        Self { threshold: 85.0, inclusive: false, minimum_hosts: 5, request_volume: 50 }
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Slow {
    #[serde(deserialize_with = "positive")]
    factor: f64,
    intervals: u32,
    minimum_hosts: u32,
    request_volume: u32,
}

impl Default for Slow {
    fn default() -> Self {
        Self { factor: 3.0, intervals: 3, minimum_hosts: 5, request_volume: 10 }
    }
}

fn percent<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    crate::config::percent(from).map(Some)
}

fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let check =
        |value: &f64| if value.is_finite() && *value >= 0.0 { Ok(()) } else { Err("a number from 0 on") };
    checked(from, check)
}

pub(super) fn ejection<'de, D: Deserializer<'de>>(from: D) -> Result<Ejection, D::Error> {
    let settings = Settings::deserialize(from)?;
    let mut ejection = match settings.preset {
        Preset::Default => Ejection::default(),
        Preset::Off => Ejection::off(),
        Preset::Envoy => Ejection::envoy(),
        Preset::Grpc => Ejection::grpc(),
    };
    ejection = set(ejection, settings.consecutive_failures, Ejection::consecutive_failures);
    ejection = set(ejection, settings.gateway_failures, Ejection::gateway_failures);
    ejection = set(ejection, settings.local_failures, Ejection::local_failures);
    ejection = set(ejection, settings.success_rate.map(Rate::rule), Ejection::success_rate);
    ejection = set(ejection, settings.failure_percentage.map(Percentage::rule), Ejection::failure_percentage);
    ejection = set(ejection, settings.latency.map(Slow::rule), Ejection::latency);
    ejection = set(ejection, settings.interval, Ejection::interval);
    ejection = set(ejection, settings.base, Ejection::base);
    ejection = set(ejection, settings.max, Ejection::max);
    ejection = set(ejection, settings.jitter, Ejection::jitter);
    ejection = set(ejection, settings.max_percent, Ejection::max_percent);
    ejection = set(ejection, settings.panic_percent, Ejection::panic_percent);
    ejection = set(ejection, settings.fail_in_panic, Ejection::fail_in_panic);
    for (name, percent) in settings.enforcing {
        let reason = Reason::ALL.into_iter().find(|reason| reason.name() == name);
        let reason = reason
            .ok_or_else(|| D::Error::custom(format_args!("enforcing: there is no detector {name:?}")))?;
        if percent > 100 {
            return Err(D::Error::custom(format_args!(
                "enforcing: {name} is {percent}, a percentage is 0 to 100"
            )));
        }
        ejection = ejection.enforcing(reason, percent);
    }
    Ok(ejection)
}

fn set<T>(ejection: Ejection, value: Option<T>, set: fn(Ejection, T) -> Ejection) -> Ejection {
    match value {
        Some(value) => set(ejection, value),
        None => ejection,
    }
}

impl Rate {
    fn rule(self) -> SuccessRate {
        SuccessRate::default()
            .factor(self.factor)
            .margin(self.margin)
            .minimum_hosts(self.minimum_hosts)
            .request_volume(self.request_volume)
    }
}

impl Percentage {
    fn rule(self) -> FailurePercentage {
        FailurePercentage::default()
            .threshold(self.threshold)
            .inclusive(self.inclusive)
            .minimum_hosts(self.minimum_hosts)
            .request_volume(self.request_volume)
    }
}

impl Slow {
    fn rule(self) -> Latency {
        Latency::default()
            .factor(self.factor)
            .intervals(self.intervals)
            .minimum_hosts(self.minimum_hosts)
            .request_volume(self.request_volume)
    }
}
