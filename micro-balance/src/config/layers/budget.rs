//! How many retries or hedges the traffic affords.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use crate::{
    config::{choice, duration},
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
    ratio: f64,
    min_per_second: u32,
    #[serde(deserialize_with = "duration")]
    ttl: Duration,
}

impl Default for Window {
    fn default() -> Self {
        Self { ratio: 0.1, min_per_second: 5, ttl: Duration::from_secs(2) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Throttle {
    max_tokens: u32,
    token_ratio: f64,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Concurrent {
    percent: f64,
    min: u32,
}

impl Default for Concurrent {
    fn default() -> Self {
        Self { percent: 20.0, min: 3 }
    }
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
