//! Where the shell keeps what was typed: in a file of this user's that nobody else reads, and no more than so much.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustyline::Config;
use rustyline::history::{FileHistory, History as _};

/// How many lines are kept.
const MOST: usize = 1000;

/// How lines are kept: neither the one before again, nor what begins with a space, as shells do it.
pub(super) fn config() -> Config {
    // Both are limits of a file that is being read, and there is none yet.
    let builder =
        Config::builder().max_history_size(MOST).and_then(|builder| builder.history_ignore_dups(true));
    builder.map(|builder| builder.history_ignore_space(true).build()).unwrap_or_default()
}

/// The file: the one that `said` names, or the user's; none where `said` is `off`, or the user has no directory.
pub(super) fn file(said: Option<&str>, state: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    match said.filter(|said| !said.is_empty()) {
        Some("off") => None,
        Some(path) => Some(PathBuf::from(path)),
        None => {
            let state = state.filter(|dir| dir.is_absolute());
            Some(state.or_else(|| Some(home?.join(".local/state")))?.join("micro/history"))
        }
    }
}

/// Makes sure that there is a file at `path`, for this user alone.
///
/// # Errors
///
/// What the system says.
pub(super) fn make(path: &Path) -> io::Result<()> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))
}

/// Keeps `line` in `history`, and in the file at `path`.
///
/// # Errors
///
/// What the system says of the file.
pub(super) fn keep(history: &mut FileHistory, line: &str, path: Option<&Path>) -> rustyline::Result<()> {
    match (history.add(line)?, path) {
        (true, Some(path)) => history.append(path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_users_unless_another_is_named_or_none_wanted() {
        let (state, home) = (|| Some("/s".into()), || Some("/h".into()));
        let path = |said, state, home| file(said, state, home).map(|path| path.display().to_string());
        assert_eq!(path(None, state(), home()).as_deref(), Some("/s/micro/history"));
        assert_eq!(path(Some(""), None, home()).as_deref(), Some("/h/.local/state/micro/history"));
        assert_eq!(
            path(None, Some("relative".into()), home()).as_deref(),
            Some("/h/.local/state/micro/history")
        );
        assert_eq!(path(Some("/x/y"), state(), home()).as_deref(), Some("/x/y"));
        assert_eq!(path(Some("off"), state(), home()), None);
        assert_eq!(path(None, None, None), None);
    }

    #[test]
    fn the_file_is_nobody_elses_and_keeps_the_last_lines_of_all_shells() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("micro/history");
        make(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));

        let (mut one, mut other) = (FileHistory::with_config(&config()), FileHistory::with_config(&config()));
        for at in 0..MOST + 200 {
            keep(&mut one, &format!("call a {at}"), Some(&path)).unwrap();
        }
        for line in ["list", "list", " call secret", "get a"] {
            keep(&mut other, line, Some(&path)).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines.len(), MOST, "{:?}", lines.first());
        assert_eq!(lines[MOST - 3..], [format!("call a {}", MOST + 199).as_str(), "list", "get a"]);
        assert_eq!(mode(&path), 0o600);
    }
}
