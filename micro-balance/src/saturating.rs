//! Sums and products of times, and parts, that no setting makes overflow.

use std::time::Duration;

use tokio::time::Instant;

/// As good as for ever, and nothing that a clock cannot hold.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// `limit` after `start`; thirty years after it where no clock goes that far, as with [`Duration::MAX`].
pub(crate) fn end(start: Instant, limit: Duration) -> Instant {
    start.checked_add(limit).unwrap_or_else(|| start + FOREVER)
}

/// `factor` times as long, to the nearest nanosecond; from zero to [`Duration::MAX`].
pub(crate) fn scale(time: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64((time.as_secs_f64() * factor).max(0.0)).unwrap_or(Duration::MAX)
}

/// `value` from `least` to `most`; the least where it is no number at all.
pub(crate) fn within(value: f64, least: f64, most: f64) -> f64 {
    value.clamp(least, most).max(least)
}
