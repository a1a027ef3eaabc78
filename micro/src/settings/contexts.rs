//! Settings with a name, in files of their own, one of which is in use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::file::Layer;
use crate::command::{Failure, Kind};
use crate::near::closest;

/// The contexts of a user.
#[derive(Clone, Debug)]
pub struct Contexts {
    dir: PathBuf,
}

impl Contexts {
    /// Those in the directory `dir`, which need not be there.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The name of the one in use.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`] when that cannot be read: another registry than the one that is meant is no place to work on.
    pub fn current(&self) -> Result<Option<String>, Failure> {
        self.word("current")
    }

    /// Every name, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.join("contexts")).into_iter().flatten().flatten();
        let name = |path: PathBuf| {
            let toml = path.extension().is_some_and(|extension| extension == "toml");
            toml.then(|| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))?
        };
        let mut names: Vec<_> = entries.filter_map(|entry| name(entry.path())).collect();
        names.sort();
        names
    }

    /// What the context `name` sets.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`] when there is none, or its file is wrong.
    pub fn get(&self, name: &str) -> Result<Layer, Failure> {
        let path = self.path(name)?;
        if !path.is_file() {
            return Err(self.missing(name));
        }
        Layer::read(&path)
    }

    /// Makes the context `name`, or makes it anew.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`] when it cannot be written.
    pub fn put(&self, name: &str, layer: &Layer) -> Result<(), Failure> {
        let path = self.path(name)?;
        self.write(&path, &layer.to_toml())
    }

    /// Takes the context `name` into use; `-` is the one that was before.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`] when there is none.
    pub fn choose(&self, name: &str) -> Result<String, Failure> {
        let name = match name {
            "-" => self.word("previous")?.ok_or_else(|| {
                Failure::new(Kind::Config, "no context was in use before").hint("micro context use NAME")
            })?,
            name => name.to_owned(),
        };
        self.get(&name)?;
        if let Some(before) = self.current()?.filter(|before| *before != name) {
            self.write(&self.dir.join("previous"), &before)?;
        }
        self.write(&self.dir.join("current"), &name)?;
        Ok(name)
    }

    /// Removes the context `name`, also from use.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`] when there is none.
    pub fn remove(&self, name: &str) -> Result<(), Failure> {
        self.get(name)?;
        let path = self.path(name)?;
        fs::remove_file(&path).map_err(|error| cannot("remove", &path, error))?;
        if self.current()?.as_deref() == Some(name) {
            let path = self.dir.join("current");
            fs::remove_file(&path).map_err(|error| cannot("remove", &path, error))?;
        }
        Ok(())
    }

    fn missing(&self, name: &str) -> Failure {
        let failure = Failure::new(Kind::Config, format!("there is no context {name:?}"));
        match closest(name, self.names().iter().map(String::as_str)) {
            Some(like) => failure.hint(format!("micro context use {like}")),
            None => failure.hint(format!("micro context add {name} --registry URL")),
        }
    }

    /// A name never leads out of the directory.
    fn path(&self, name: &str) -> Result<PathBuf, Failure> {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with(['.', '-']) || !name.chars().all(plain) {
            let what = format!("{name:?} cannot be the name of a context");
            return Err(Failure::new(Kind::Usage, what).hint("letters, digits, - and _"));
        }
        Ok(self.dir.join("contexts").join(format!("{name}.toml")))
    }

    /// What stands in `file`; nothing where there is none.
    fn word(&self, file: &str) -> Result<Option<String>, Failure> {
        let path = self.dir.join(file);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot("read", &path, error)),
        }
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), Failure> {
        let dir = path.parent().unwrap_or(&self.dir);
        let written = fs::create_dir_all(dir).and_then(|()| private(path, text));
        written.map_err(|error| cannot("write", path, error))
    }
}

/// A URL may hold a password: what is written is this user's alone.
fn private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

fn cannot(verb: &str, path: &Path, error: io::Error) -> Failure {
    Failure::new(Kind::Config, format!("cannot {verb} {}", path.display())).source(error)
}
