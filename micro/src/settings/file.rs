//! One place that settings come from.

use std::collections::BTreeMap;
use std::path::Path;

use super::key::{KEYS, Key};
use crate::command::{Failure, Kind, check_tables};
use crate::near::closest;

/// What one place sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    values: BTreeMap<String, String>,
}

impl Layer {
    /// Reads a file; one that is not there sets nothing.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`], with the place in the file.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                Self::parse(&text).map_err(|failure| failure.tried(format!("to read {}", path.display())))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => {
                Err(Failure::new(Kind::Config, format!("cannot read {}", path.display())).source(error))
            }
        }
    }

    /// Reads TOML.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`].
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let table: toml::Table =
            toml::from_str(text).map_err(|error| Failure::new(Kind::Config, "not TOML").source(error))?;
        check_tables(&table).map_err(|unread| Failure::new(Kind::Config, unread.to_string()))?;
        let mut layer = Self::default();
        for (name, value) in table {
            match value {
                toml::Value::String(value) => layer.set(&name, value)?,
                // A face's own.
                toml::Value::Table(_) => {}
                _ => return Err(Failure::new(Kind::Config, format!("{name:?} is not a text in quotes"))),
            }
        }
        Ok(layer)
    }

    /// Sets one.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`] when there is no such setting, or it cannot be this.
    pub fn set(&mut self, name: &str, value: String) -> Result<(), Failure> {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            let failure = Failure::new(Kind::Config, format!("there is no setting {name:?}"));
            let names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
            return Err(match closest(name, names.iter().copied()) {
                Some(like) => failure.hint(like),
                None => failure.hint(format!("one of {}", names.join(", "))),
            });
        };
        check(key, &value)?;
        self.values.insert(name.to_owned(), value);
        Ok(())
    }

    /// What it says of one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All it sets, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// As TOML.
    pub fn to_toml(&self) -> String {
        let line = |(name, value): (&str, &str)| format!("{name} = {}\n", toml::Value::from(value));
        self.iter().map(line).collect()
    }
}

fn check(key: &Key, value: &str) -> Result<(), Failure> {
    if key.values.is_empty() || key.values.contains(&value) {
        return Ok(());
    }
    let what = format!("{} is {value:?}, which it cannot be", key.name);
    Err(Failure::new(Kind::Config, what).hint(format!("one of {}", key.values.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_written_and_what_is_wrong_with_it_is_said() {
        let text = "output = \"json\"\nregistry = \"etcd://h\"\n";
        let layer = Layer::parse(&format!("{text}[api]\naddress = 1\n")).unwrap();
        assert_eq!(layer.to_toml(), text);
        for (text, what, hint) in [
            ("registri = 'x'", "no setting \"registri\"", Some("registry")),
            (
                "output = 'xml'",
                "output is \"xml\"",
                Some("one of table, wide, json, ndjson, yaml, name, original"),
            ),
            ("output = 1", "not a text", None),
            ("output", "not TOML", None),
            ("[apo]", "no table [apo]: the gateway's are [api] and [[api.route]]", None),
            ("[[route]]", "no table [[route]]: ", None),
        ] {
            let failure = Layer::parse(text).unwrap_err();
            assert_eq!((failure.kind(), failure.what_to_try()), (Kind::Config, hint), "{text}");
            assert!(failure.to_string().contains(what), "{failure}");
        }
    }
}
