//! What a log hears of connections that cannot be accepted.

use std::{io, time::Duration};

use tokio::time::Instant;

/// How often it is said, while it goes on.
const EACH: Duration = Duration::from_secs(30);

/// Attempts to accept that have failed: the first is said, and then once in a while how many there were.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    said: Option<Instant>,
    unsaid: u64,
}

impl Refusals {
    /// Counts one that failed by `error`, and says so if it is time.
    pub(super) fn note(&mut self, error: &io::Error) {
        if let Some(attempts) = self.due() {
            tracing::warn!(%error, attempts, "cannot accept connections; trying again");
        }
    }

    /// How many there were since it was said last, if it is time to say it again.
    fn due(&mut self) -> Option<u64> {
        self.unsaid += 1;
        if self.said.is_some_and(|said| said.elapsed() < EACH) {
            return None;
        }
        self.said = Some(Instant::now());
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_is_said_at_once_and_the_others_together() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.due(), Some(1));
        for _ in 1..300 {
            advance(EACH / 300).await;
            assert_eq!(refusals.due(), None);
        }
        advance(EACH / 300).await;
        assert_eq!(refusals.due(), Some(300));
        advance(EACH * 10).await;
        assert_eq!(refusals.due(), Some(1), "a trouble that comes back is said at once");
    }
}
