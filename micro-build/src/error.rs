//! What is wrong, and where.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// Why nothing was generated, by file, line and column if a file is to blame.
///
/// Its `Debug` is its message: that is what a build script that returns it prints.
pub struct Error {
    message: String,
}

impl Error {
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Self { message: format!("{}: {error}", path.display()) }
    }

    pub(crate) fn no_out_dir() -> Self {
        Self {
            message: "OUT_DIR is not set: run this from a build script, or set an output directory".into(),
        }
    }

    /// Names the file by its path, where the compiler knows it by its name within the includes.
    pub(crate) fn proto(error: &protox::Error, includes: &[PathBuf]) -> Self {
        // Only the compiler's `Debug` tells line and column.
        let message = format!("{error:?}");
        let located = error.file().and_then(|name| {
            let rest = message.strip_prefix(name)?;
            let path = includes.iter().map(|include| include.join(name)).find(|path| path.exists())?;
            Some(format!("{}{rest}", path.display()))
        });
        Self { message: located.unwrap_or(message) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
