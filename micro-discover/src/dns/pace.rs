//! Keeps a client from flooding a name server, whatever goes wrong.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// At most 4 questions in any second: two at once, then one every half second.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the next question would be due if every question took its half second.
    due: Mutex<Option<Instant>>,
}

const EACH: Duration = Duration::from_millis(500);

impl Pace {
    pub(super) async fn turn(&self) {
        let at = {
            let mut due = self.due.lock().expect("nothing under this lock can panic");
            let now = Instant::now();
            let mine = due.map_or(now, |due| due.max(now));
            *due = Some(mine + EACH);
            (mine.checked_sub(EACH)).unwrap_or(mine)
        };
        sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
