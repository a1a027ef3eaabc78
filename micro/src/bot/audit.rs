//! What was asked of the bot, and what came of it.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::heard::Speaker;

/// A line of JSON for every message: when, who, where, what, and what came of it. Clones write to one place.
#[derive(Clone)]
pub struct Audit(Arc<Mutex<dyn Write + Send>>);

impl Audit {
    /// Writes to `out`, a line at a time.
    pub fn new(out: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(out)))
    }

    pub(super) fn write(&self, speaker: &Speaker, text: &str, outcome: &str, took: Duration) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = json!({
            "time": now.as_millis() as u64,
            "input": speaker.input,
            "user": speaker.user,
            "room": speaker.room,
            "text": text,
            "outcome": outcome,
            "ms": took.as_millis() as u64,
        });
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
            tracing::error!(%error, %line, "the audit log cannot be written");
        }
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Audit")
    }
}
