//! The settings in a broker's URL: what stands behind the question mark.

use std::str::FromStr;

use crate::error::Error;

/// A URL without its query, and the query's settings. Every setting must be taken, so that a misspelt one is an error.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    backend: &'static str,
    /// The URL without its query.
    pub(crate) base: &'a str,
    settings: Vec<(&'a str, &'a str)>,
}

impl<'a> Settings<'a> {
    pub(crate) fn parse(backend: &'static str, url: &'a str) -> Self {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let settings = query.split('&').filter(|setting| !setting.is_empty());
        let settings = settings.map(|setting| setting.split_once('=').unwrap_or((setting, ""))).collect();
        Self { backend, base, settings }
    }

    /// Takes the setting of a name; the last one when it is given twice.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a str> {
        let found = self.settings.iter().rfind(|(key, _)| *key == name).map(|(_, value)| *value);
        self.settings.retain(|(key, _)| *key != name);
        found
    }

    pub(crate) fn take_as<T: FromStr<Err = String>>(&mut self, name: &str) -> Result<Option<T>, Error> {
        self.take(name).map(str::parse).transpose().map_err(|fault: String| self.invalid(&fault))
    }

    /// An error when settings are left that nobody took.
    pub(crate) fn end(self) -> Result<(), Error> {
        match self.settings.first() {
            None => Ok(()),
            Some((name, _)) => Err(self.invalid(&format!("setting {name:?}: there is none of this name"))),
        }
    }

    pub(crate) fn invalid(&self, what: &str) -> Error {
        Error::Invalid { backend: self.backend, what: format!("its URL's {what}") }
    }
}
