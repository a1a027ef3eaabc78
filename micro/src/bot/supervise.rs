//! Keeps inputs going: one that ends is begun again after a while.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::heard::{Heard, Input};
use crate::causes::chain;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// A connection that has lasted this long was a good one.
const GOOD: Duration = Duration::from_secs(30);

/// Runs `input` again and again, until it ends the bot or nobody takes what it hears.
pub(super) async fn supervise(input: &dyn Input, heard: mpsc::Sender<Heard>) {
    let mut wait = SHORTEST;
    loop {
        let began = Instant::now();
        let ended = input.run(heard.clone()).await;
        if heard.is_closed() || (input.ends_bot() && ended.is_ok()) {
            return;
        }
        if began.elapsed() >= GOOD {
            wait = SHORTEST;
        }
        match &ended {
            Ok(()) => {
                tracing::info!(input = input.name(), ?wait, "the connection has ended: connecting again");
            }
            Err(error) => {
                let error = chain(&**error);
                tracing::warn!(input = input.name(), error, ?wait, "the input has failed: trying again");
            }
        }
        // A little more or less, so that many bots do not come back at once.
        sleep(wait.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
        wait = (wait * 2).min(LONGEST);
    }
}
