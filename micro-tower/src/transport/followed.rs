//! Files that may change while they are in use.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::pem::InvalidTls;

/// How often they are looked at.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// Some files, and what they held when they were last looked at.
#[derive(Debug)]
pub(crate) struct Followed {
    paths: Vec<PathBuf>,
    seen: Mutex<Seen>,
}

struct Seen {
    at: Instant,
    texts: Vec<Vec<u8>>,
}

/// What it holds is nobody's business.
impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seen").finish_non_exhaustive()
    }
}

impl Followed {
    /// Reads `paths`, and gives what they hold.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`] where one of them cannot be read.
    pub(crate) fn new(paths: Vec<PathBuf>) -> Result<(Self, Vec<Vec<u8>>), InvalidTls> {
        let texts = read(&paths)?;
        let seen = Mutex::new(Seen { at: Instant::now(), texts: texts.clone() });
        Ok((Self { paths, seen }, texts))
    }

    /// Looks again, unless that was done within the last second. What they hold, if that is something else; half of it
    /// may have been written, and then the next look tells.
    pub(crate) async fn changed(self: &Arc<Self>) -> Option<Vec<Vec<u8>>> {
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.at.elapsed() < LOOK {
                return None;
            }
            seen.at = Instant::now();
        }
        let files = self.clone();
        // It may be a disk that takes its time.
        let now = tokio::task::spawn_blocking(move || read(&files.paths)).await.ok()?.ok()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.texts == now {
            return None;
        }
        seen.texts = now.clone();
        Some(now)
    }

    /// The first of them, for a log.
    pub(crate) fn name(&self) -> std::path::Display<'_> {
        self.paths.first().map_or(Path::new(""), PathBuf::as_path).display()
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, InvalidTls> {
    let named = |path: &Path, e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|e| InvalidTls::new("a file cannot be read", named(path, e)))
    };
    paths.iter().map(read).collect()
}
