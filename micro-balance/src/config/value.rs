//! How single values are written, and which of them can work.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de::Error};

/// A duration as text: `"10s"`, `"250ms"`, `"1m 30s"`.
///
/// # Errors
///
/// Where it is no text, or no duration.
pub fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text)
        .map_err(|error| D::Error::custom(format_args!("{text:?} is no duration like \"10s\": {error}")))
}

/// A duration that is not zero.
pub(super) fn some_time<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let time = duration(from)?;
    if time.is_zero() { Err(D::Error::custom("more than no time")) } else { Ok(time) }
}

/// A duration that may be left out.
///
/// # Errors
///
/// As [`duration`].
pub fn maybe_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    duration(from).map(Some)
}

/// A whole number from 0 to 100.
///
/// # Errors
///
/// Where it is anything else.
pub fn percent<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    checked(from, |percent: &u32| match percent {
        0..=100 => Ok(()),
        _ => Err("a percentage is 0 to 100"),
    })
}

/// A value that `check` finds nothing wrong with.
///
/// # Errors
///
/// What `check` finds.
pub fn checked<'de, D, T, X, E>(from: D, check: impl FnOnce(&T) -> Result<X, E>) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
    E: fmt::Display,
{
    let value = T::deserialize(from)?;
    check(&value).map_err(D::Error::custom)?;
    Ok(value)
}
