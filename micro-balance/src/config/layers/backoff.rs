//! How long retries wait.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use crate::{
    config::{checked, choice, duration},
    retry::{Backoff, Jitter},
};

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Waits {
    Exponential(Exponential),
    Linear(Linear),
    Decorrelated(Decorrelated),
    Constant(Constant),
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Exponential {
    #[serde(deserialize_with = "first")]
    base: Duration,
    #[serde(deserialize_with = "factor")]
    factor: f64,
    #[serde(deserialize_with = "duration")]
    max: Duration,
    #[serde(deserialize_with = "choice")]
    jitter: Jitters,
}

fn first<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let base = duration(from)?;
    Backoff::exponential(base, 1.0, Duration::MAX).map(|_| base).map_err(D::Error::custom)
}

fn factor<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    checked(from, |factor: &f64| Backoff::exponential(Duration::MAX, *factor, Duration::MAX))
}

impl Default for Exponential {
    fn default() -> Self {
        let jitter = Jitters::Full(Nothing {});
        Self { base: Duration::from_millis(25), factor: 2.0, max: Duration::from_millis(250), jitter }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Jitters {
    None(Nothing),
    Full(Nothing),
    Equal(Nothing),
    Around(Part),
    Above(Part),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    #[serde(deserialize_with = "part")]
    part: f64,
}

fn part<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    checked(from, |part: &f64| if (0.0..=1.0).contains(part) { Ok(()) } else { Err("a part is 0 to 1") })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Linear {
    #[serde(deserialize_with = "duration")]
    base: Duration,
    #[serde(deserialize_with = "duration")]
    step: Duration,
    #[serde(deserialize_with = "duration")]
    max: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decorrelated {
    #[serde(deserialize_with = "first")]
    base: Duration,
    #[serde(deserialize_with = "duration")]
    max: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Constant {
    #[serde(deserialize_with = "duration")]
    wait: Duration,
}

pub(super) fn backoff<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Backoff>, D::Error> {
    Ok(Some(match choice(from)? {
        Waits::Exponential(Exponential { base, factor, max, jitter }) => {
            let jitter = match jitter {
                Jitters::None(_) => Jitter::None,
                Jitters::Full(_) => Jitter::Full,
                Jitters::Equal(_) => Jitter::Equal,
                Jitters::Around(Part { part }) => Jitter::Around(part),
                Jitters::Above(Part { part }) => Jitter::Above(part),
            };
            Backoff::exponential(base, factor, max).map_err(D::Error::custom)?.jitter(jitter)
        }
        Waits::Linear(Linear { base, max, .. }) if base > max => {
            return Err(D::Error::custom(format_args!("base {base:?} is over max {max:?}")));
        }
        Waits::Linear(Linear { base, step, max }) => Backoff::linear(base, step, max),
        Waits::Decorrelated(Decorrelated { base, max }) => {
            Backoff::decorrelated(base, max).map_err(D::Error::custom)?
        }
        Waits::Constant(Constant { wait }) => Backoff::constant(wait),
    }))
}
