//! Messages that find no room: they are counted, and said to be lost.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What an input could not take.
#[derive(Debug)]
pub(super) struct Lost {
    input: &'static str,
    /// How many since there was room.
    messages: AtomicU64,
}

impl Lost {
    pub(super) fn new(input: &'static str) -> Self {
        Self { input, messages: AtomicU64::new(0) }
    }

    /// A message is not heard, as too many answers are under way. The first of a row is said.
    pub(super) fn one(&self) {
        metrics::counter!("micro_bot_lost_total", "input" => self.input).increment(1);
        if self.messages.fetch_add(1, Relaxed) == 0 {
            let input = self.input;
            tracing::warn!(input, "too many answers are under way: what is said now is not heard");
        }
    }

    /// There is room. How many messages were not heard is said, if any was.
    pub(super) fn room(&self) {
        let messages = self.messages.swap(0, Relaxed);
        if messages > 0 {
            tracing::warn!(
                input = self.input,
                messages,
                "there is room again; so many messages were not heard"
            );
        }
    }
}
