//! The layers around a balancer, and its ejection and health checks.

mod backoff;
mod breaker;
mod budget;
mod code;
mod ejection;
mod gradient;
mod health;
mod hedge;
mod limit;
mod page;
mod retry;
mod shed;

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use self::{
    breaker::breaker,
    ejection::ejection,
    hedge::hedge,
    limit::limit,
    retry::retry,
    shed::{failfast, throttle},
};
pub use self::{
    health::{Ask, HealthChecks},
    page::Page,
};
use super::checked;
use crate::{
    breaker::BreakerLayer, eject::Ejection, failfast::FailfastLayer, hedge::HedgeLayer, limit::LimitLayer,
    retry::RetryLayer, throttle::ThrottleLayer,
};

/// What protects callers and endpoints from each other. A part that is left out is off, but for ejection, which
/// has its defaults then.
///
/// ```toml
/// [ejection]
/// consecutive_failures = 3
///
/// [health_check]
/// ask.http.path = "/healthz"
///
/// [timeout]
/// call = "5s"
/// attempt = "1s"
///
/// [retry]
/// attempts = 3
/// codes = ["UNAVAILABLE", "ABORTED"]
/// budget.window = { ratio = 0.1, min_per_second = 5, ttl = "2s" }
///
/// [limit.vegas]
/// initial = 20
/// ```
///
/// What leaves answers as they are may be left out of a stack as well; what does not, as a retry layer or one that reads
/// answers to their end, is there and does nothing:
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use micro_balance::{
///     config::{self, Layers}, retry::RetryLayer, throttle::ThrottleLayer, timeout::TimeoutLayer,
/// };
/// use tower::{BoxError, ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let layers: Layers = config::read(serde_json::json!({ "timeout": { "call": "5s" }, "breaker": {} }))?;
/// let service = ServiceBuilder::new()
///     .option_layer(layers.timeout.call.map(TimeoutLayer::per_call))
///     .layer(layers.throttle.unwrap_or_else(ThrottleLayer::off).http())
///     .layer(layers.retry.unwrap_or_else(|| RetryLayer::new().attempts(1)))
///     .option_layer(layers.timeout.attempt.map(TimeoutLayer::per_attempt))
///     .option_layer(layers.limit)
///     .option_layer(layers.breaker)
///     .option_layer(layers.failfast)
///     .service_fn(|request: Request<_>| async move {
///         let body = BodyExt::collect(request.into_body()).await?.to_bytes();
///         Ok::<_, BoxError>(Response::new(Full::new(body)))
///     });
/// let answer = service.oneshot(Request::new(Full::from("hello"))).await?;
/// assert_eq!(answer.into_body().collect().await?.to_bytes(), "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of layers")]
#[non_exhaustive]
pub struct Layers {
    /// When an endpoint that does badly is left out.
    #[serde(deserialize_with = "ejection")]
    pub ejection: Ejection,
    /// How endpoints are asked whether they are well.
    pub health_check: Option<HealthChecks>,
    /// How long things may take.
    pub timeout: Timeouts,
    /// What is sent again.
    #[serde(deserialize_with = "retry")]
    pub retry: Option<RetryLayer>,
    /// What is sent twice because it takes long.
    #[serde(deserialize_with = "hedge")]
    pub hedge: Option<HedgeLayer>,
    /// How many requests are let through at once.
    #[serde(deserialize_with = "limit")]
    pub limit: Option<LimitLayer>,
    /// Turns away what would be turned away anyway.
    #[serde(deserialize_with = "throttle")]
    pub throttle: Option<ThrottleLayer>,
    /// For how long requests wait for a service that is not ready.
    #[serde(deserialize_with = "failfast")]
    pub failfast: Option<FailfastLayer>,
    /// When a service that keeps failing is left alone.
    #[serde(deserialize_with = "breaker")]
    pub breaker: Option<BreakerLayer>,
}

/// Limits of time; none unless given.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of settings, { call = \"5s\" } for one")]
#[non_exhaustive]
pub struct Timeouts {
    /// Of a call with all its attempts.
    #[serde(deserialize_with = "some_time")]
    pub call: Option<Duration>,
    /// Of each attempt.
    #[serde(deserialize_with = "some_time")]
    pub attempt: Option<Duration>,
    /// Between two frames of an answer.
    #[serde(deserialize_with = "some_time")]
    pub idle: Option<Duration>,
    /// Of an answer from its head to its end.
    #[serde(deserialize_with = "some_time")]
    pub response: Option<Duration>,
}

/// A count of at least one.
fn some<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    checked(from, |count: &u32| if *count > 0 { Ok(()) } else { Err("at least 1") }).map(Some)
}

/// A time that is not zero, and may be left out.
fn some_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    super::some_time(from).map(Some)
}

/// A part from 0 to 1.
fn part<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    checked(from, |part: &f64| if (0.0..=1.0).contains(part) { Ok(()) } else { Err("a part is 0 to 1") })
        .map(Some)
}

/// Sets what was given.
fn set<A, T>(algorithm: A, value: Option<T>, set: fn(A, T) -> A) -> A {
    match value {
        Some(value) => set(algorithm, value),
        None => algorithm,
    }
}
