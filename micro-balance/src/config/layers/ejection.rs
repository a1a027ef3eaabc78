//! When an endpoint that does badly is left out.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use super::some_time;
use crate::{
    config::{checked, maybe_duration},
    eject::{Ejection, FailurePercentage, Latency, Reason, SuccessRate},
};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of settings, { preset = \"off\" } for one")]
struct Settings {
    preset: Preset,
    consecutive_failures: Option<u32>,
    gateway_failures: Option<u32>,
    local_failures: Option<u32>,
    success_rate: Option<Rate>,
    failure_percentage: Option<Percentage>,
    latency: Option<Slow>,
    enforcing: Enforcing,
    #[serde(deserialize_with = "some_time")]
    interval: Option<Duration>,
    #[serde(deserialize_with = "some_time")]
    base: Option<Duration>,
    #[serde(deserialize_with = "some_time")]
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

/// The percentage by detector.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of percentages")]
struct Enforcing {
    #[serde(deserialize_with = "percent")]
    consecutive_failures: Option<u32>,
    #[serde(deserialize_with = "percent")]
    gateway_failures: Option<u32>,
    #[serde(deserialize_with = "percent")]
    local_failures: Option<u32>,
    #[serde(deserialize_with = "percent")]
    success_rate: Option<u32>,
    #[serde(deserialize_with = "percent")]
    local_success_rate: Option<u32>,
    #[serde(deserialize_with = "percent")]
    failure_percentage: Option<u32>,
    #[serde(deserialize_with = "percent")]
    local_failure_percentage: Option<u32>,
    #[serde(deserialize_with = "percent")]
    latency: Option<u32>,
}

impl Enforcing {
    fn of(&self, reason: Reason) -> Option<u32> {
        match reason {
            Reason::Failures => self.consecutive_failures,
            Reason::GatewayFailures => self.gateway_failures,
            Reason::LocalFailures => self.local_failures,
            Reason::SuccessRate => self.success_rate,
            Reason::LocalSuccessRate => self.local_success_rate,
            Reason::FailurePercentage => self.failure_percentage,
            Reason::LocalFailurePercentage => self.local_failure_percentage,
            Reason::Latency => self.latency,
        }
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of settings, which may be empty")]
struct Rate {
    #[serde(deserialize_with = "from_0")]
    factor: f64,
    #[serde(deserialize_with = "points")]
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
#[serde(default, deny_unknown_fields, expecting = "a table of settings, which may be empty")]
struct Percentage {
    #[serde(deserialize_with = "points")]
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
#[serde(default, deny_unknown_fields, expecting = "a table of settings, which may be empty")]
struct Slow {
    #[serde(deserialize_with = "from_1")]
    factor: f64,
    #[serde(deserialize_with = "one")]
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

/// Points of percent.
fn points<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    checked(from, |points: &f64| if (0.0..=100.0).contains(points) { Ok(()) } else { Err("0 to 100") })
}

fn from_0<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    checked(from, |n: &f64| if n.is_finite() && *n >= 0.0 { Ok(()) } else { Err("a number from 0 on") })
}

fn from_1<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    checked(from, |n: &f64| if n.is_finite() && *n >= 1.0 { Ok(()) } else { Err("a number from 1 on") })
}

fn one<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    checked(from, |count: &u32| if *count > 0 { Ok(()) } else { Err("at least 1") })
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
    // Last, as a detector that is named is enforced otherwise.
    for reason in Reason::ALL {
        if let Some(percent) = settings.enforcing.of(reason) {
            if percent > 0 && !ejection.detects(reason) {
                return Err(D::Error::custom(format_args!("enforcing {reason}, which is not looked for")));
            }
            ejection = ejection.enforcing(reason, percent as u8);
        }
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
