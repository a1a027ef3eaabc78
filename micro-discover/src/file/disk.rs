//! The few things done to files. None of them trusts what it finds.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Once;
use std::time::SystemTime;

use super::lease::{LARGEST, Lease};
use crate::invalid::Invalid;

/// What tells one state of a file from the next without reading it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Print {
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

/// More files than this are not looked at.
const MOST_FILES: usize = 65_536;
static TOO_MANY: Once = Once::new();

/// The records and the temporary files in `dir`; none when there is no such directory.
pub(super) fn list(dir: &Path) -> io::Result<BTreeMap<String, Print>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut listing = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let ours = name.ends_with(".json") || (name.starts_with('.') && name.ends_with(".tmp"));
        // A file that is gone since, a link or a pipe is none of ours.
        if let (true, Ok(metadata)) = (ours, entry.metadata())
            && metadata.is_file()
        {
            listing.insert(name, Print::of(&metadata));
        }
        if listing.len() == MOST_FILES {
            TOO_MANY.call_once(|| tracing::warn!(dir = %dir.display(), "looking at {MOST_FILES} files only"));
            break;
        }
    }
    Ok(listing)
}

/// How the file `name` looks; none when there is no such file.
pub(super) fn print(dir: &Path, name: &str) -> Option<Print> {
    fs::symlink_metadata(dir.join(name)).ok().map(|found| Print::of(&found))
}

/// Reads the record `name`.
pub(super) fn read(dir: &Path, name: &str) -> Result<Lease, Invalid> {
    let unreadable = |error: io::Error| Invalid::new(error.to_string());
    let mut json = Vec::new();
    let file = File::open(dir.join(name)).map_err(unreadable)?;
    file.take(LARGEST + 1).read_to_end(&mut json).map_err(unreadable)?;
    if json.len() as u64 > LARGEST {
        return Err(Invalid::new(format!("it has more than {LARGEST} bytes")));
    }
    Lease::decode(&json, name)
}

/// Puts `json` in place of `name` at once: a reader finds the old record or the new one, never half of either.
///
/// Answers how it looks now. `durable` waits until it would survive a power cut. A record that expires need not: whoever wrote it is gone
/// after one, too. On a full disk a record that exists is written in place, so live endpoints stay.
pub(super) fn replace(dir: &Path, name: &str, json: &[u8], durable: bool) -> io::Result<Print> {
    let temporary = dir.join(format!(".{name}.{}-{:x}.tmp", std::process::id(), fastrand::u64(..)));
    let written = create(&temporary).and_then(|mut file| {
        file.write_all(json)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&temporary, dir.join(name))?;
        Ok(Print::of(&file.metadata()?))
    });
    if written.is_err() {
        // What cannot be removed now is removed by whoever looks later.
        fs::remove_file(&temporary).ok();
    }
    match written {
        Err(error) if is_full(&error) => overwrite(&dir.join(name), json).map_err(|_| error),
        written => written,
    }
}

/// Renews a record in the room it has. A reader may find it half done, ignores that, and looks again when it is.
fn overwrite(path: &Path, json: &[u8]) -> io::Result<Print> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(json)?;
    file.set_len(json.len() as u64)?;
    Ok(Print::of(&file.metadata()?))
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Removes `name` if it still looks like `print`: a record that was just renewed stays.
pub(super) fn remove(dir: &Path, name: &str, known: Option<Print>) {
    if known.is_some() && known == print(dir, name) {
        fs::remove_file(dir.join(name)).ok();
    }
}

impl Print {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self { inode, length: metadata.len(), modified: metadata.modified().ok() }
    }

    #[cfg(test)]
    pub(super) fn fake(inode: u64) -> Self {
        Self { inode, length: 0, modified: None }
    }
}
