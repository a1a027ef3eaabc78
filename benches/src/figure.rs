//! Figures as JSON keeps them: it has no word for one that could not be measured.

use serde::{Deserialize, Deserializer};

/// Reads a figure; `null` is `NaN`, as it is written.
pub(crate) fn or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Option::deserialize(deserializer).map(|figure| figure.unwrap_or(f64::NAN))
}
