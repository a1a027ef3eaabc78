//! Policies, eligibility and layers from configuration, in any format that serde reads.
//!
//! Durations are text such as `"10s"` or `"250ms"`. A key that is not known and a value that cannot work are
//! refused, with the path to the key. Where one of several is chosen, its name alone takes all its defaults,
//! and a table under its name changes some:
//!
//! ```toml
//! policy = "peak_ewma"
//! ```
//!
//! ```toml
//! [policy.ring_hash]
//! bound = 1.25
//! ```
//!
//! ```
//! use micro_balance::config;
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     #[serde(deserialize_with = "config::duration")]
//!     patience: std::time::Duration,
//! }
//!
//! let settings: Settings = config::read(serde_json::json!({ "patience": "1m 30s" }))?;
//! assert_eq!(settings.patience.as_secs(), 90);
//!
//! let error = config::read::<Settings, _>(serde_json::json!({ "patience": "soon" })).err().unwrap();
//! assert!(error.to_string().starts_with("patience: "));
//! # Ok::<(), config::Invalid>(())
//! ```

mod balancing;
mod choice;
mod layers;
mod policy;
mod value;

use serde::{Deserialize, Deserializer};

use self::value::some_time;
pub use self::{
    balancing::Balancing,
    choice::choice,
    layers::{Ask, HealthChecks, Layers, Page, Timeouts},
    policy::PolicyConfig,
    value::{checked, duration, maybe_duration, percent},
};

/// Reads `T`, and names the key where that fails.
///
/// # Errors
///
/// [`Invalid`] for a key that is not known, a value of the wrong kind, and one that cannot work.
pub fn read<'de, T, D>(from: D) -> Result<T, Invalid>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
    D::Error: std::fmt::Display,
{
    serde_path_to_error::deserialize(from)
        .map_err(|error| Invalid { key: error.path().to_string(), why: error.into_inner().to_string() })
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct Invalid {
    key: String,
    why: String,
}

impl Invalid {
    /// The path to the key that is wrong, such as `policy.ring_hash.bound`.
    pub fn key(&self) -> &str {
        &self.key
    }
}
