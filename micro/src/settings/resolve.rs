//! Which of the places that set a thing wins.

use std::fmt;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use super::contexts::Contexts;
use super::file::Layer;
use super::key::{KEYS, Key};
use crate::command::{Failure, Kind, Setting, redacted};

/// Who says what a setting is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The command line.
    Flag(&'static str),
    /// The environment.
    Variable(&'static str),
    /// A context.
    Context(String),
    /// A file.
    File(PathBuf),
    /// Nobody: it is what is usual.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => f.write_str(name),
            Self::Context(name) => write!(f, "context {name}"),
            Self::File(path) => path.display().fmt(f),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What the settings are worked out from.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// What the command line says.
    pub flags: Layer,
    /// What the environment says.
    pub variables: Layer,
    /// The context that the command line or the environment names, instead of the one in use.
    pub context: Option<String>,
    /// The file to read instead of the user's.
    pub file: Option<PathBuf>,
    /// The directory whose `micro.toml` counts.
    pub here: PathBuf,
    /// The user's directory, if there is one.
    pub home: Option<PathBuf>,
}

impl Given {
    /// What this process finds: its environment, its directory, its user's directory. Flags are the caller's.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`] for a variable that cannot be what it is.
    pub fn here(flags: Layer) -> Result<Self, Failure> {
        let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let variable = |name| match path(name).map(|value| value.into_os_string().into_string()) {
            // Another registry than the one that is meant is no place to work on.
            Some(Err(_)) => Err(Failure::new(Kind::Config, format!("{name} is no text"))),
            Some(Ok(value)) => Ok(Some(value)),
            None => Ok(None),
        };
        let mut variables = Layer::default();
        for key in KEYS {
            if let Some(value) = variable(key.variable)? {
                variables
                    .set(key.name, value)
                    .map_err(|failure| failure.tried(format!("to read {}", key.variable)))?;
            }
        }
        let home = match path("XDG_CONFIG_HOME") {
            Some(dir) => Some(dir.join("micro")),
            None => path("HOME").map(|home| home.join(".config/micro")),
        };
        Ok(Self {
            flags,
            variables,
            context: variable("MICRO_CONTEXT")?,
            file: path("MICRO_CONFIG"),
            here: PathBuf::from("."),
            home,
        })
    }
}

impl Given {
    /// The files whose tables faces read, of which the first that is there counts: the one that is named, or `./micro.toml`
    /// and the user's.
    pub fn faces(&self) -> Vec<PathBuf> {
        match &self.file {
            Some(file) => vec![file.clone()],
            None => {
                let home = self.home.as_ref().map(|home| home.join("config.toml"));
                [self.here.join("micro.toml")].into_iter().chain(home).collect()
            }
        }
    }

    /// The one of them that is there, or else the last.
    pub fn face(&self) -> Option<PathBuf> {
        let mut files = self.faces();
        let last = files.pop();
        files.into_iter().find(|file| file.is_file()).or(last)
    }
}

/// The settings in force, and who says so.
#[derive(Clone, Debug)]
pub struct Settings {
    values: Vec<(&'static Key, Option<String>, Origin)>,
}

impl Settings {
    /// Works them out: flag, variable, context, `./micro.toml`, the user's file, default.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`].
    pub fn resolve(given: &Given) -> Result<Self, Failure> {
        let contexts = given.home.as_ref().map(Contexts::new);
        let context = match (&given.context, &contexts) {
            (Some(name), Some(contexts)) => Some((name.clone(), contexts.get(name)?)),
            (Some(name), None) => {
                let what = format!("there is no context {name:?}: this user has no directory for them");
                return Err(Failure::new(Kind::Config, what).hint("XDG_CONFIG_HOME or HOME"));
            }
            (None, Some(contexts)) => match contexts.current()? {
                Some(name) => {
                    let layer = contexts.get(&name)?;
                    Some((name, layer))
                }
                None => None,
            },
            (None, None) => None,
        };
        let near = given.here.join("micro.toml");
        let far = given.file.clone().or_else(|| given.home.as_ref().map(|home| home.join("config.toml")));
        if let Some(file) = given.file.as_ref().filter(|file| !is_file(file)) {
            return Err(Failure::new(Kind::Config, format!("there is no file {}", file.display())));
        }
        let near_layer = Layer::read(&near)?;
        let far_layer = far.as_ref().map(|path| Layer::read(path)).transpose()?.unwrap_or_default();
        let value = |key: &'static Key| {
            let own = |text: &str| Some(text.to_owned());
            if let Some(text) = given.flags.get(key.name) {
                return (key, own(text), Origin::Flag(key.name));
            }
            if let Some(text) = given.variables.get(key.name) {
                return (key, own(text), Origin::Variable(key.variable));
            }
            if let Some((name, layer)) = &context
                && let Some(text) = layer.get(key.name)
            {
                return (key, own(text), Origin::Context(name.clone()));
            }
            if let Some(text) = near_layer.get(key.name) {
                return (key, own(text), Origin::File(near.clone()));
            }
            if let (Some(path), Some(text)) = (&far, far_layer.get(key.name)) {
                return (key, own(text), Origin::File(path.clone()));
            }
            (key, key.usual.map(str::to_owned), Origin::Default)
        };
        Ok(Self { values: KEYS.iter().map(value).collect() })
    }

    /// What the setting `name` is.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(key, ..)| key.name == name)?.1.as_deref()
    }

    /// Who says what the setting `name` is.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.values.iter().find(|(key, ..)| key.name == name).map(|(.., origin)| origin)
    }

    /// All of them, fit to be shown.
    pub fn shown(&self) -> Vec<Setting> {
        let shown = |(key, value, origin): &(&Key, Option<String>, Origin)| {
            let value = value.as_ref().map(|value| if key.secret { redacted(value) } else { value.clone() });
            Setting::new(key.name, value, origin.to_string())
        };
        self.values.iter().map(shown).collect()
    }
}

/// Whether there is a file, or what stands for an empty one: /dev/null. A pipe could be read once only.
fn is_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| about.is_file() || about.file_type().is_char_device())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(registry: &str) -> Layer {
        let mut layer = Layer::default();
        layer.set("registry", registry.to_owned()).unwrap();
        layer
    }

    #[test]
    fn a_flag_wins_over_a_variable_over_a_context_over_files_over_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let (here, home) = (dir.path().join("here"), dir.path().join("home"));
        std::fs::create_dir_all(&here).unwrap();
        let contexts = Contexts::new(&home);
        contexts.put("prod", &layer("file:/context")).unwrap();
        contexts.choose("prod").unwrap();
        std::fs::write(here.join("micro.toml"), "registry = 'file:/here'").unwrap();
        std::fs::write(home.join("config.toml"), "registry = 'file:/home'").unwrap();
        let mut given = Given { here: here.clone(), home: Some(home.clone()), ..Given::default() };
        given.flags = layer("file:/flag");
        given.variables = layer("file:/variable");
        let mut expect = |value: &str, origin: Origin, next: &mut dyn FnMut(&mut Given)| {
            let settings = Settings::resolve(&given).unwrap();
            assert_eq!(settings.get("registry"), Some(value));
            assert_eq!(settings.origin("registry"), Some(&origin));
            next(&mut given);
        };
        expect("file:/flag", Origin::Flag("registry"), &mut |given| given.flags = Layer::default());
        let variable = Origin::Variable("MICRO_REGISTRY");
        expect("file:/variable", variable, &mut |given| given.variables = Layer::default());
        let context = Origin::Context("prod".into());
        expect("file:/context", context, &mut |_| contexts.remove("prod").unwrap());
        let near = here.join("micro.toml");
        expect("file:/here", Origin::File(near.clone()), &mut |_| std::fs::remove_file(&near).unwrap());
        let far = home.join("config.toml");
        expect("file:/home", Origin::File(far.clone()), &mut |_| std::fs::remove_file(&far).unwrap());
        expect("file:", Origin::Default, &mut |_| {});
    }

    #[test]
    fn a_context_in_use_that_cannot_be_read_is_no_reason_to_work_somewhere_else() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("current")).unwrap();
        let given = Given { home: Some(dir.path().to_owned()), ..Given::default() };
        let failure = Settings::resolve(&given).unwrap_err();
        assert_eq!(failure.kind(), Kind::Config);
        assert!(failure.to_string().contains("current"), "{failure}");
    }

    #[test]
    fn the_context_before_comes_back_by_a_dash_and_a_name_never_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        let contexts = Contexts::new(dir.path());
        for name in ["a", "b"] {
            contexts.put(name, &layer("file:")).unwrap();
            contexts.choose(name).unwrap();
        }
        assert_eq!(contexts.choose("-").unwrap(), "a");
        assert_eq!(contexts.choose("-").unwrap(), "b");
        assert_eq!(
            (contexts.names(), contexts.current().unwrap().as_deref()),
            (vec!["a".into(), "b".into()], Some("b"))
        );
        for name in ["../x", "", ".x", "a/b"] {
            assert_eq!(contexts.put(name, &Layer::default()).unwrap_err().kind(), Kind::Usage, "{name}");
        }
        assert_eq!(contexts.choose("c").unwrap_err().kind(), Kind::Config);
    }

    #[test]
    fn a_password_is_never_shown() {
        let given = Given { flags: layer("etcd://me:hunter2@h"), ..Given::default() };
        let shown = Settings::resolve(&given).unwrap().shown();
        assert_eq!(shown[0].value.as_deref(), Some("etcd://***@h"));
    }
}
