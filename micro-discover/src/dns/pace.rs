//! Keeps a client from flooding a name server, whatever goes wrong.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// At most 4 questions in any second: two at once, then one every half second.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the next question would be due if every question took its half second.
    due: Mutex<Option<Instant>>,
}

const EACH: Duration = Duration::from_millis(500);

impl Pace {
    /// Waits for a turn, behind those who wait already. Who stops waiting takes none.
    pub(super) async fn turn(&self) {
        let mut due = self.due.lock().await;
        let now = Instant::now();
        let mine = due.map_or(now, |due| due.max(now));
        sleep_until(mine.checked_sub(EACH).unwrap_or(mine)).await;
        *due = Some(mine + EACH);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_holds_nobody_up() {
        let pace = Pace::default();
        for _ in 0..1_000 {
            let hasty = timeout(Duration::from_millis(1), pace.turn());
            hasty.await.ok();
        }
        let start = Instant::now();
        pace.turn().await;
        assert!(start.elapsed() <= EACH, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn no_second_has_more_than_four_questions() {
        let pace = Pace::default();
        let mut asked = Vec::new();
        for _ in 0..40 {
            pace.turn().await;
            asked.push(Instant::now());
        }
        for from in &asked {
            let within = |at: &&Instant| **at >= *from && **at < *from + Duration::from_secs(1);
            assert!(asked.iter().filter(within).count() <= 4);
        }
        assert!(asked[1] == asked[0], "an A and an AAAA go out together");
    }
}
