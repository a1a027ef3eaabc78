//! How many requests are let through at once.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use super::{
    gradient::{GradientSettings, gradient},
    set, some, some_time,
};
use crate::{
    config::{checked, choice, maybe_duration},
    limit::{Aimd, Gradient2, LimitLayer, Vegas},
};

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Fixed(Fixed),
    Aimd(AimdSettings),
    Vegas(VegasSettings),
    Gradient(GradientSettings),
    Gradient2(Gradient2Settings),
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fixed {
    #[serde(deserialize_with = "some")]
    limit: Option<u32>,
    queue: Option<u32>,
    #[serde(deserialize_with = "maybe_duration")]
    wait: Option<Duration>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AimdSettings {
    #[serde(deserialize_with = "some")]
    initial: Option<u32>,
    #[serde(deserialize_with = "some")]
    min: Option<u32>,
    #[serde(deserialize_with = "some")]
    max: Option<u32>,
    #[serde(deserialize_with = "backoff_ratio")]
    backoff_ratio: Option<f64>,
    #[serde(deserialize_with = "some_time")]
    timeout: Option<Duration>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VegasSettings {
    #[serde(deserialize_with = "some")]
    initial: Option<u32>,
    #[serde(deserialize_with = "some")]
    max: Option<u32>,
    alpha: Option<u32>,
    beta: Option<u32>,
    #[serde(deserialize_with = "smoothing")]
    smoothing: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Gradient2Settings {
    #[serde(deserialize_with = "some")]
    initial: Option<u32>,
    #[serde(deserialize_with = "some")]
    min: Option<u32>,
    #[serde(deserialize_with = "some")]
    max: Option<u32>,
    #[serde(deserialize_with = "smoothing")]
    smoothing: Option<f64>,
    queue: Option<u32>,
    #[serde(deserialize_with = "tolerance")]
    tolerance: Option<f64>,
}

/// With nothing of a change made at once, the limit would never change.
fn smoothing<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    let check = |part: &f64| if *part > 0.0 && *part <= 1.0 { Ok(()) } else { Err("over 0 and up to 1") };
    checked(from, check).map(Some)
}

fn backoff_ratio<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    let check =
        |ratio: &f64| if (0.5..1.0).contains(ratio) { Ok(()) } else { Err("from 0.5 on and under 1") };
    checked(from, check).map(Some)
}

fn tolerance<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    checked(from, |times: &f64| if times.is_finite() && *times >= 1.0 { Ok(()) } else { Err("at least 1") })
        .map(Some)
}

/// Where a limit begins unless told, or as near to that as its range lets it.
const INITIAL: u32 = 20;

/// The least and the most that a limit may be, and where it begins in between.
fn range<E: Error>(min: u32, max: u32, initial: Option<u32>) -> Result<(u32, u32, u32), E> {
    if min > max {
        return Err(E::custom(format_args!("min {min} is over max {max}")));
    }
    let initial = initial.unwrap_or(INITIAL.clamp(min, max));
    if !(min..=max).contains(&initial) {
        return Err(E::custom(format_args!("initial {initial} is not within {min} and {max}")));
    }
    Ok((min, max, initial))
}

pub(super) fn limit<'de, D: Deserializer<'de>>(from: D) -> Result<Option<LimitLayer>, D::Error> {
    Ok(Some(match choice(from)? {
        Kind::Fixed(Fixed { limit, queue, wait }) => {
            let layer = LimitLayer::new(limit.unwrap_or(1024));
            match (queue, wait) {
                (None, None) => layer,
                (Some(queue), Some(wait)) => layer.queue(queue, wait),
                _ => return Err(D::Error::custom("`queue` and `wait` go together")),
            }
        }
        Kind::Aimd(settings) => LimitLayer::adaptive(aimd(&settings)?),
        Kind::Vegas(settings) => LimitLayer::adaptive(vegas(&settings)?),
        Kind::Gradient(settings) => LimitLayer::adaptive(gradient(settings)?),
        Kind::Gradient2(settings) => LimitLayer::adaptive(gradient2(&settings)?),
    }))
}

fn aimd<E: Error>(settings: &AimdSettings) -> Result<Aimd, E> {
    let (min, max) = (settings.min.unwrap_or(20), settings.max.unwrap_or(200));
    let (min, max, initial) = range(min, max, settings.initial)?;
    let aimd = Aimd::default().range(min, max).initial(initial);
    let aimd = set(aimd, settings.backoff_ratio, Aimd::backoff_ratio);
    Ok(set(aimd, settings.timeout, Aimd::timeout))
}

fn vegas<E: Error>(settings: &VegasSettings) -> Result<Vegas, E> {
    let (_, max, initial) = range(1, settings.max.unwrap_or(1000), settings.initial)?;
    match (settings.alpha, settings.beta) {
        (Some(alpha), Some(beta)) if alpha > beta => {
            return Err(E::custom(format_args!("alpha {alpha} is over beta {beta}")));
        }
        (None, None) | (Some(_), Some(_)) => {}
        _ => return Err(E::custom("`alpha` and `beta` go together")),
    }
    let vegas = Vegas::default().initial(initial).max(max);
    let vegas = set(vegas, settings.alpha, Vegas::alpha);
    let vegas = set(vegas, settings.beta, Vegas::beta);
    Ok(set(vegas, settings.smoothing, Vegas::smoothing))
}

fn gradient2<E: Error>(settings: &Gradient2Settings) -> Result<Gradient2, E> {
    let (min, max) = (settings.min.unwrap_or(20), settings.max.unwrap_or(200));
    let (min, max, initial) = range(min, max, settings.initial)?;
    let gradient = Gradient2::default().range(min, max).initial(initial);
    let gradient = set(gradient, settings.smoothing, Gradient2::smoothing);
    let gradient = set(gradient, settings.queue, Gradient2::queue);
    Ok(set(gradient, settings.tolerance, Gradient2::tolerance))
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::de::value::Error;
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::limit::Gradient;

    fn built<S: for<'de> Deserialize<'de>, A: Debug>(
        settings: Value,
        build: impl Fn(S) -> Result<A, Error>,
    ) -> String {
        format!("{:?}", build(from_value(settings).unwrap()).unwrap())
    }

    #[test]
    fn every_setting_of_a_limit_that_learns_is_heeded() {
        let ms = Duration::from_millis;
        let ours = Aimd::default().range(5, 50).initial(9).backoff_ratio(0.7).timeout(ms(900));
        let said = json!({ "min": 5, "max": 50, "initial": 9, "backoff_ratio": 0.7, "timeout": "900ms" });
        assert_eq!(built(said, |settings| aimd(&settings)), format!("{ours:?}"));
        let seeded = |settings: VegasSettings| vegas::<Error>(&settings).map(|vegas| vegas.seed(1));
        let ours = Vegas::default().seed(1).initial(9).max(50).alpha(2).beta(4).smoothing(0.5);
        let said = json!({ "initial": 9, "max": 50, "alpha": 2, "beta": 4, "smoothing": 0.5 });
        assert_eq!(built(said, seeded), format!("{ours:?}"));
        let ours = Gradient2::default().range(5, 50).initial(9).smoothing(0.5).queue(7).tolerance(1.75);
        let said =
            json!({ "min": 5, "max": 50, "initial": 9, "smoothing": 0.5, "queue": 7, "tolerance": 1.75 });
        assert_eq!(built(said, |settings| gradient2(&settings)), format!("{ours:?}"));
        // As much of alpha as of beta is a band of nothing, and no contradiction.
        assert!(built(json!({ "alpha": 3, "beta": 3 }), |settings| vegas(&settings)).contains("3"));

        let seeded = |settings| gradient::<Error>(settings).map(|gradient| gradient.seed(1));
        let ours = Gradient::default().range(5, 50).buffer(0.5).percentile(0.9).interval(ms(50));
        let said = json!({ "min": 5, "max": 50, "buffer": 0.5, "percentile": 0.9, "interval": "50ms" });
        assert_eq!(built(said, seeded), format!("{:?}", ours.seed(1)));
        let ours = Gradient::default().probe(7, ms(30_000), 0.5).seed(1);
        let said = json!({ "probe": { "requests": 7, "every": "30s", "jitter": 0.5 } });
        assert_eq!(built(said, seeded), format!("{ours:?}"));
        let ours = Gradient::default().fastest(ms(5)).seed(1);
        assert_eq!(built(json!({ "fastest": "5ms" }), seeded), format!("{ours:?}"));
    }
}
