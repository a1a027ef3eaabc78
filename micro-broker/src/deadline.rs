//! Deadlines, however long the wait.

use std::time::Duration;

use tokio::time::Instant;

/// As good as for ever; the clock itself ends some time after that, with a panic.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 86_400);

/// When `wait` is over.
pub(crate) fn after(wait: Duration) -> Instant {
    Instant::now() + wait.min(LONGEST)
}
