//! When and how endpoints are asked whether they are well.

use std::time::Duration;

use serde::Deserialize;

use super::{page::Page, part, some, some_time};
use crate::{
    config::{choice, maybe_duration},
    health::HealthCheck,
};

/// When and how endpoints are asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Checks")]
#[non_exhaustive]
pub struct HealthChecks {
    /// When.
    pub schedule: HealthCheck,
    /// How.
    pub ask: Ask,
}

/// How an endpoint is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ask {
    /// By a TCP connection.
    Tcp,
    /// For a page, as by [`HttpCheck`](crate::health::HttpCheck).
    Http(Page),
    /// By gRPC's health protocol, for this service or the whole server.
    Grpc {
        /// The full name of the service.
        service: String,
        /// By `Check` in place of `Watch`.
        unary: bool,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of settings, { ask = \"tcp\" } for one")]
struct Checks {
    #[serde(default, deserialize_with = "some_time")]
    interval: Option<Duration>,
    #[serde(default, deserialize_with = "some_time")]
    unhealthy_interval: Option<Duration>,
    #[serde(default, deserialize_with = "some_time")]
    healthy_edge_interval: Option<Duration>,
    #[serde(default, deserialize_with = "some_time")]
    unhealthy_edge_interval: Option<Duration>,
    #[serde(default, deserialize_with = "some_time")]
    idle_interval: Option<Duration>,
    #[serde(default, deserialize_with = "some_time")]
    timeout: Option<Duration>,
    #[serde(default, deserialize_with = "maybe_duration")]
    initial_jitter: Option<Duration>,
    #[serde(default, deserialize_with = "part")]
    jitter: Option<f64>,
    #[serde(default, deserialize_with = "some")]
    healthy_threshold: Option<u32>,
    #[serde(default, deserialize_with = "some")]
    unhealthy_threshold: Option<u32>,
    readmits: Option<bool>,
    #[serde(deserialize_with = "choice")]
    ask: Kind,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Tcp(Tcp),
    Http(Page),
    Grpc(Named),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tcp {}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Named {
    service: String,
    unary: bool,
}

impl From<Checks> for HealthChecks {
    fn from(checks: Checks) -> Self {
        let set = |schedule: HealthCheck,
                   value: Option<Duration>,
                   set: fn(HealthCheck, Duration) -> HealthCheck| {
            value.map_or(schedule, |value| set(schedule, value))
        };
        let mut schedule = HealthCheck::default();
        schedule = set(schedule, checks.interval, HealthCheck::interval);
        schedule = set(schedule, checks.unhealthy_interval, HealthCheck::unhealthy_interval);
        schedule = set(schedule, checks.healthy_edge_interval, HealthCheck::healthy_edge_interval);
        schedule = set(schedule, checks.unhealthy_edge_interval, HealthCheck::unhealthy_edge_interval);
        schedule = set(schedule, checks.idle_interval, HealthCheck::idle_interval);
        schedule = set(schedule, checks.timeout, HealthCheck::timeout);
        schedule = set(schedule, checks.initial_jitter, HealthCheck::initial_jitter);
        schedule = checks.jitter.map_or(schedule, |part| schedule.jitter(part));
        schedule = checks.healthy_threshold.map_or(schedule, |count| schedule.healthy_threshold(count));
        schedule = checks.unhealthy_threshold.map_or(schedule, |count| schedule.unhealthy_threshold(count));
        schedule = checks.readmits.map_or(schedule, |readmits| schedule.readmits(readmits));
        let ask = match checks.ask {
            Kind::Tcp(Tcp {}) => Ask::Tcp,
            Kind::Http(page) => Ask::Http(page),
            Kind::Grpc(Named { service, unary }) => Ask::Grpc { service, unary },
        };
        Self { schedule, ask }
    }
}
