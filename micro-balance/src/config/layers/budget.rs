//! How many retries or hedges the traffic affords.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use crate::{
    config::{checked, choice, duration},
    retry::Budget,
};

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Window(Window),
    Throttle(Throttle),
    Concurrent(Concurrent),
    Endless(Endless),
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Window {
    #[serde(deserialize_with = "ratio")]
    ratio: f64,
    #[serde(deserialize_with = "min_per_second")]
    min_per_second: u32,
    #[serde(deserialize_with = "ttl")]
    ttl: Duration,
}

/// A time to live that goes with anything.
const TTL: Duration = Duration::from_secs(1);

fn ratio<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    checked(from, |ratio: &f64| Budget::new(*ratio, 0, TTL))
}

fn min_per_second<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    checked(from, |min: &u32| Budget::new(0.0, *min, TTL))
}

fn ttl<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let ttl = duration(from)?;
    Budget::new(0.0, 0, ttl).map(|_| ttl).map_err(D::Error::custom)
}

impl Default for Window {
    fn default() -> Self {
        Self { ratio: 0.1, min_per_second: 5, ttl: Duration::from_secs(2) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Throttle {
    #[serde(deserialize_with = "max_tokens")]
    max_tokens: u32,
    #[serde(deserialize_with = "token_ratio")]
    token_ratio: f64,
}

fn max_tokens<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    checked(from, |tokens: &u32| Budget::throttle(*tokens, 1.0))
}

fn token_ratio<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    checked(from, |ratio: &f64| Budget::throttle(1, *ratio))
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Concurrent {
    #[serde(deserialize_with = "percent")]
    percent: f64,
    min: u32,
}

impl Default for Concurrent {
    fn default() -> Self {
        Self { percent: 20.0, min: 3 }
    }
}

fn percent<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    checked(from, |percent: &f64| Budget::concurrent(*percent, 0))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Endless {}

pub(super) fn budget<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Budget>, D::Error> {
    match choice(from)? {
        Kind::Window(Window { ratio, min_per_second, ttl }) => Budget::new(ratio, min_per_second, ttl),
        Kind::Throttle(Throttle { max_tokens, token_ratio }) => Budget::throttle(max_tokens, token_ratio),
        Kind::Concurrent(Concurrent { percent, min }) => Budget::concurrent(percent, min),
        Kind::Endless(Endless {}) => Ok(Budget::endless()),
    }
    .map(Some)
    .map_err(D::Error::custom)
}
