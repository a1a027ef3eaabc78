//! Which directory, and whether it may be trusted.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::path::{Path, PathBuf};

/// The directory of a registry.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    /// An ancestor that must be ours alone, because others may write beside it.
    private: Option<PathBuf>,
}

impl Place {
    pub(super) fn explicit(dir: PathBuf) -> Self {
        Self { dir, private: None }
    }

    /// `MICRO_REGISTRY_DIR`, or `micro/registry` in the user's runtime directory, or `micro-<uid>/registry` in
    /// the temporary one.
    pub(super) fn of_user(variable: impl Fn(&str) -> Option<OsString>, temporary: &Path) -> Self {
        let path = |name: &str| variable(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        if let Some(dir) = path("MICRO_REGISTRY_DIR") {
            return Self::explicit(dir);
        }
        let parent = match path("XDG_RUNTIME_DIR").filter(|dir| dir.is_absolute() && dir.is_dir()) {
            Some(runtime) => runtime.join("micro"),
            None => temporary.join(format!("micro-{}", user())),
        };
        Self { dir: parent.join("registry"), private: Some(parent) }
    }

    /// Makes the directory, readable for its owner alone, unless it is there.
    ///
    /// # Errors
    ///
    /// Of the file system; and when the default directory belongs to someone else, is open to others' writing, or
    /// is a symbolic link.
    pub(super) fn ensure(&self) -> io::Result<()> {
        create(&self.dir)?;
        self.private.as_deref().map_or(Ok(()), check_private)
    }
}

fn create(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

#[cfg(unix)]
fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn user() -> String {
    std::env::var("USERNAME").unwrap_or_default()
}

#[cfg(unix)]
fn check_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;

    let found = fs::symlink_metadata(dir)?;
    let why = if !found.is_dir() {
        "is not a directory".to_owned()
    } else if found.uid() != user() {
        format!("belongs to user {}, not to user {}", found.uid(), user())
    } else if found.mode() & 0o022 != 0 {
        format!("may be written by others (mode {:o})", found.mode() & 0o7777)
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {why}", dir.display())))
}

#[cfg(not(unix))]
fn check_private(dir: &Path) -> io::Result<()> {
    fs::symlink_metadata(dir).map(drop)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set(name: &'static str, value: &Path) -> impl Fn(&str) -> Option<OsString> {
        let value = value.as_os_str().to_owned();
        move |asked| (asked == name).then(|| value.clone())
    }

    #[test]
    fn the_variable_wins_over_the_runtime_directory_over_the_temporary_one() {
        let temp = tempfile::tempdir().unwrap();
        let at = |variable: &dyn Fn(&str) -> Option<OsString>| Place::of_user(variable, temp.path()).dir;
        assert_eq!(at(&set("MICRO_REGISTRY_DIR", Path::new("/a"))), Path::new("/a"));
        assert_eq!(at(&set("XDG_RUNTIME_DIR", temp.path())), temp.path().join("micro/registry"));
        let fallback = temp.path().join(format!("micro-{}/registry", user()));
        assert_eq!(at(&|_| None), fallback);
        assert_eq!(at(&set("XDG_RUNTIME_DIR", Path::new("/is/not/there"))), fallback);
        assert_eq!(at(&set("MICRO_REGISTRY_DIR", Path::new(""))), fallback);
    }

    #[test]
    fn the_default_directory_is_made_for_its_owner_alone() {
        let temp = tempfile::tempdir().unwrap();
        let place = Place::of_user(|_| None, temp.path());
        place.ensure().unwrap();
        place.ensure().unwrap();
        for dir in [&place.dir, place.private.as_ref().unwrap()] {
            assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn a_default_directory_that_others_control_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let place = Place::of_user(|_| None, temp.path());
        let parent = place.private.clone().unwrap();
        place.ensure().unwrap();
        fs::set_permissions(&parent, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(place.ensure().unwrap_err().to_string().contains("may be written by others (mode 777)"));

        fs::remove_dir_all(&parent).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), &parent).unwrap();
        assert!(place.ensure().unwrap_err().to_string().contains("is not a directory"));
    }
}
