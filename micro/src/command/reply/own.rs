//! What the toolkit says of itself: settings, files, logs, faces.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;

/// What this program was built of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Built {
    /// `micro`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The commit it was built from, where `MICRO_COMMIT` said so to the build.
    pub commit: Option<&'static str>,
    /// The compiler, as `rustc --version` names it.
    pub rustc: &'static str,
    /// Cargo's features that were on.
    pub features: Vec<&'static str>,
    /// How URLs of registries begin that it can open.
    pub registries: Vec<&'static str>,
    /// How URLs of brokers begin that it can open.
    pub brokers: Vec<&'static str>,
}

/// How far a command is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// In a line.
    pub said: String,
}

impl Progress {
    pub(crate) fn new(said: impl Into<String>) -> Self {
        Self { said: said.into() }
    }
}

/// A service that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Created {
    /// Its name.
    pub name: String,
    /// The files, in the order in which they were written.
    pub files: Vec<String>,
}

/// A line of a service that is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Log {
    /// The service.
    pub name: String,
    /// `stdout`, `stderr`, `build`, or `micro` for what happened to it.
    pub stream: &'static str,
    /// What it wrote.
    pub line: String,
}

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Setting {
    /// Its name.
    pub key: String,
    /// What it is, without what may be secret.
    pub value: Option<String>,
    /// Who says so.
    pub origin: String,
}

/// A context: settings with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NamedContext {
    /// Its name.
    pub name: String,
    /// Whether it is in force.
    pub current: bool,
    /// What it sets, without what may be secret.
    pub settings: BTreeMap<String, String>,
}

/// A text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Text {
    /// The text.
    pub text: String,
}

impl Setting {
    pub(crate) fn new(key: &str, value: Option<String>, origin: String) -> Self {
        Self { key: key.to_owned(), value, origin }
    }
}

impl NamedContext {
    pub(crate) fn new(name: String, current: bool, settings: BTreeMap<String, String>) -> Self {
        Self { name, current, settings }
    }
}

impl Text {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

/// A face that listens for requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Listening {
    /// Which face, such as `api`.
    pub face: &'static str,
    /// Where it listens, if that is over TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// The same as a URL.
    pub url: String,
}

impl Listening {
    /// The face `face` listens on `address`, over TLS or not.
    pub fn new(face: &'static str, address: SocketAddr, tls: bool) -> Self {
        let scheme = if tls { "https" } else { "http" };
        Self { face, address: Some(address), url: format!("{scheme}://{address}") }
    }

    /// The face `face` listens at `url`, which is no TCP address.
    pub fn at(face: &'static str, url: String) -> Self {
        Self { face, address: None, url }
    }
}
