//! The gateway's file: read at first, and again whenever it changes.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::sleep;

use super::failure::{Failure, Kind};
use crate::api::{Cors, Rules};
use crate::causes::chain;

/// How often a file is looked at. It is small, and read whole: so a change is seen on every file system, and also where
/// another file takes its place.
const EACH: Duration = Duration::from_secs(1);
/// How long it may be, in bytes.
const MOST_BYTES: usize = 4 << 20;

/// What stands on the command line, whatever a file says.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags {
    pub(super) timeout: Option<Duration>,
    pub(super) cors: Option<Cors>,
}

impl Flags {
    /// `rules`, but for what is said here.
    pub(super) fn over(&self, mut rules: Rules) -> Rules {
        if let Some(timeout) = self.timeout {
            rules = rules.timeout(timeout);
        }
        if let Some(cors) = &self.cors {
            rules = rules.cors(cors.clone());
        }
        rules
    }
}

/// Whether a gateway could use the file `path`.
pub(crate) async fn check(path: PathBuf) -> Result<(), Failure> {
    Reloaded::new(path, Flags::default()).first().await.map(drop)
}

/// A file of rules.
#[derive(Debug)]
pub(super) struct Reloaded {
    path: PathBuf,
    flags: Flags,
    /// What was in it; nothing where it was not there.
    text: Option<String>,
    /// What was last wrong with reading it, which is said once.
    unread: Option<io::ErrorKind>,
}

impl Reloaded {
    pub(super) fn new(path: PathBuf, flags: Flags) -> Self {
        Self { path, flags, text: None, unread: None }
    }

    /// The rules it has now.
    pub(super) async fn first(&mut self) -> Result<Rules, Failure> {
        let failed = |what: String| Failure::new(Kind::Config, what);
        let read = self.read().await;
        self.text =
            read.map_err(|error| failed(format!("cannot read {}", self.path.display())).source(error))?;
        self.rules().map_err(|why| failed(why).tried(format!("to read {}", self.path.display())))
    }

    /// Gives `set` the rules of each change. One that cannot be used is said to be so, and changes nothing. Never ends.
    pub(super) async fn follow(mut self, set: impl Fn(Rules)) {
        let file = self.path.display().to_string();
        loop {
            sleep(EACH).await;
            let text = match self.read().await {
                // A file that goes away is one that is about to be written.
                Ok(None) => continue,
                Ok(text) => text,
                Err(error) => {
                    if self.unread.replace(error.kind()) != Some(error.kind()) {
                        tracing::error!(file, %error, "the rules cannot be read; those before hold");
                    }
                    continue;
                }
            };
            self.unread = None;
            if text == self.text {
                continue;
            }
            self.text = text;
            match self.rules() {
                Ok(rules) => {
                    metrics::counter!("micro_gateway_reloads_total", "outcome" => "taken").increment(1);
                    tracing::info!(file, routes = rules.routes(), "new rules hold");
                    set(rules);
                }
                Err(why) => {
                    metrics::counter!("micro_gateway_reloads_total", "outcome" => "refused").increment(1);
                    tracing::error!(file, why, "the new rules cannot be used; those before hold");
                }
            }
        }
    }

    fn rules(&self) -> Result<Rules, String> {
        let rules = Rules::new().read(self.text.as_deref().unwrap_or_default());
        rules.map(|rules| self.flags.over(rules)).map_err(|error| chain(&error))
    }

    async fn read(&self) -> io::Result<Option<String>> {
        match tokio::fs::read_to_string(&self.path).await {
            Ok(text) if text.len() > MOST_BYTES => Err(io::ErrorKind::FileTooLarge.into()),
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
