//! Says on a terminal that a command still waits, and for how long it has.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What takes less than this is not worth a word.
const PATIENCE: Duration = Duration::from_millis(700);
const EVERY: Duration = Duration::from_millis(100);
const TURNS: [char; 4] = ['|', '/', '-', '\\'];

/// Waits for `future`, and shows that on standard error if that is a terminal and it takes long. Leaves no trace.
pub(super) async fn waiting<T>(future: impl Future<Output = T>) -> T {
    if !io::stderr().is_terminal() {
        return future.await;
    }
    tokio::pin!(future);
    let began = Instant::now();
    let mut turn = 0;
    let mut wait = PATIENCE;
    loop {
        tokio::select! {
            biased;
            done = &mut future => {
                if turn > 0 {
                    show("\r\u{1b}[K");
                }
                return done;
            }
            () = sleep(wait) => {
                let seconds = began.elapsed().as_secs();
                show(&format!("\r{} waiting for {seconds} s\u{1b}[K", TURNS[turn % TURNS.len()]));
                (turn, wait) = (turn + 1, EVERY);
            }
        }
    }
}

/// A line on standard error that is written again and again, if that is a terminal.
#[derive(Debug, Default)]
pub(super) struct Line {
    shown: bool,
}

impl Line {
    pub(super) fn say(&mut self, text: &str) {
        if io::stderr().is_terminal() {
            show(&format!("\r{text}\u{1b}[K"));
            self.shown = true;
        }
    }

    /// Leaves no trace of it.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            show("\r\u{1b}[K");
        }
    }
}

fn show(text: &str) {
    // Nobody is left to be told.
    io::stderr().write_all(text.as_bytes()).and_then(|()| io::stderr().flush()).ok();
}
