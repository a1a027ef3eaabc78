//! Waits that no clock lasts for.

use std::time::Duration;

/// Longer than anybody waits, and short enough to be added to any instant: thirty years.
const ENDLESS: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// `wait`, thirty years at most.
pub(crate) fn bounded(wait: Duration) -> Duration {
    wait.min(ENDLESS)
}
