//! The settings that only some values are right for, as the policies themselves say.

use http::HeaderName;
use serde::Deserializer;

use crate::{
    config::value::checked,
    policy::{HashBy, LeastOf, Maglev, OrcaWeighted, Prequal, Random, RequestBias, RingHash, Source},
};

pub(super) fn choices<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u8>, D::Error> {
    // More than fit are as many as can be: gRPC takes any number over 10 for 10.
    let fitting = |choices: u32| u8::try_from(choices).unwrap_or(u8::MAX);
    checked(from, |choices: &u32| LeastOf::choices(fitting(*choices))).map(|choices| Some(fitting(choices)))
}

pub(super) fn bias<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    checked(from, |bias: &f64| RequestBias::bias(*bias)).map(Some)
}

pub(super) fn penalty<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    checked(from, |penalty: &f64| OrcaWeighted::new().penalty(*penalty)).map(Some)
}

pub(super) fn probes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    checked(from, |probes: &u32| Prequal::new().probes(*probes)).map(Some)
}

pub(super) fn quantile<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    checked(from, |quantile: &f64| Prequal::new().quantile(*quantile)).map(Some)
}

pub(super) fn points<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    checked(from, |points: &u32| RingHash::with_points(*points)).map(Some)
}

pub(super) fn bound<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    checked(from, |bound: &f64| RingHash::new().bounded(*bound)).map(Some)
}

pub(super) fn size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    checked(from, |size: &u64| Maglev::with_size(*size)).map(Some)
}

pub(super) fn header<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    checked(from, |name: &String| HashBy::header(name, Random)).map(Some)
}

/// A header that names an endpoint.
pub(super) fn named<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    checked(from, |name: &String| Source::header(name)).map(Some)
}

/// The name of a cookie, which is made of the same characters as that of a header.
pub(super) fn cookie<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let is_name =
        |name: &String| HeaderName::try_from(name).map_err(|_| format!("{name:?} is no name of a cookie"));
    checked(from, is_name).map(Some)
}
