//! Certificates and keys in PEM: as they were given, or as they are in their files by now.

use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;

/// A text, and the file it was read from, if it was.
pub(crate) struct Pem {
    text: Mutex<Vec<u8>>,
    file: Option<PathBuf>,
}

impl Pem {
    /// What is in the file at `path`.
    pub(crate) fn read(path: impl Into<PathBuf>) -> std::io::Result<Self> {
        let path = path.into();
        Ok(Self { text: std::fs::read(&path)?.into(), file: Some(path) })
    }

    /// What it says now, for certificates end, and others put new ones in their place; what it said last, if it cannot be read.
    pub(crate) fn now(&self) -> Vec<u8> {
        let mut text = self.text.lock().expect("nothing under this lock can panic");
        if let Some(Ok(read)) = self.file.as_ref().map(std::fs::read) {
            *text = read;
        }
        text.clone()
    }
}

impl From<Vec<u8>> for Pem {
    fn from(text: Vec<u8>) -> Self {
        Self { text: text.into(), file: None }
    }
}

/// Without what may be a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").field("file", &self.file).finish_non_exhaustive()
    }
}
