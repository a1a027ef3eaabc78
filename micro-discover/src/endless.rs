//! Waits that no clock lasts for.

use std::time::Duration;

/// As good as for ever, and short enough to be added to any instant.
pub(crate) const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
