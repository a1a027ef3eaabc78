//! A word's report as it is kept after its run, until a page is made of it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tower::BoxError;

use super::Report;
use crate::bar::Bar;

/// What became of one word.
#[derive(Debug, Deserialize, Serialize)]
pub struct Kept {
    /// The word.
    pub word: String,
    /// What it measures.
    pub about: String,
    /// What the machine was like before and after.
    pub machine: [String; 2],
    /// When it was over, in seconds since 1970.
    pub at: u64,
    /// What it told.
    pub report: Report,
    /// Its claims.
    pub bars: Vec<Bar>,
    /// Why it broke off, if it did.
    pub error: Option<String>,
}

impl Kept {
    /// Whether it came to its end and every claim holds.
    pub fn holds(&self) -> bool {
        self.error.is_none() && self.bars.iter().all(Bar::holds)
    }

    /// Keeps it in the build directory, in place of what this word left there before.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn keep(&self) -> Result<(), BoxError> {
        fs::create_dir_all(directory())?;
        fs::write(path(&self.word), serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }

    /// What `word` left behind last, if it ever ran.
    pub fn of(word: &str) -> Option<Self> {
        serde_json::from_slice(&fs::read(path(word)).ok()?).ok()
    }

    /// Forgets what `word` left behind.
    pub fn forget(word: &str) {
        // One that was never kept is forgotten as well.
        let _ = fs::remove_file(path(word));
    }

    /// The day it was measured.
    pub(super) fn day(&self) -> String {
        let at = UNIX_EPOCH + Duration::from_secs(self.at);
        humantime::format_rfc3339_seconds(at).to_string().chars().take(10).collect()
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/benches")
}

fn path(word: &str) -> PathBuf {
    directory().join(word).with_extension("json")
}
