//! The gateway's file: read at first, and again whenever it changes, or one comes that counts before it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::sleep;

use super::failure::{Failure, Kind};
use super::tables::check_tables;
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
    Reloaded::new(vec![path], Flags::default()).first().await.map(drop)
}

/// A file of rules.
#[derive(Debug)]
pub(super) struct Reloaded {
    /// Where it may be: the first that is there counts, and none behind one that once did.
    paths: Vec<PathBuf>,
    flags: Flags,
    /// What was in it, and where it is; nothing where it was not there.
    text: Option<(String, PathBuf)>,
    /// What was last wrong with reading it, which is said once.
    unread: Option<io::ErrorKind>,
}

impl Reloaded {
    pub(super) fn new(paths: Vec<PathBuf>, flags: Flags) -> Self {
        Self { paths, flags, text: None, unread: None }
    }

    /// The rules it has now.
    pub(super) async fn first(&mut self) -> Result<Rules, Failure> {
        let failed = |what: String| Failure::new(Kind::Config, what);
        let read = self.read().await;
        self.text =
            read.map_err(|(path, error)| failed(format!("cannot read {}", path.display())).source(error))?;
        self.rules().map_err(|why| match &self.text {
            Some((_, path)) => failed(why).tried(format!("to read {}", path.display())),
            None => failed(why),
        })
    }

    /// Gives `set` the rules of each change. One that cannot be used is said to be so, and changes nothing. Never ends.
    pub(super) async fn follow(mut self, set: impl Fn(Rules)) {
        loop {
            sleep(EACH).await;
            let text = match self.read().await {
                // A file that goes away is one that is about to be written.
                Ok(None) => continue,
                Ok(text) => text,
                Err((path, error)) => {
                    let file = path.display();
                    if self.unread.replace(error.kind()) != Some(error.kind()) {
                        tracing::error!(%file, %error, "the rules cannot be read; those before hold");
                    }
                    continue;
                }
            };
            self.unread = None;
            if text == self.text {
                continue;
            }
            self.text = text;
            let file = self.text.as_ref().map(|(_, path)| path.display().to_string());
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
        let text = self.text.as_ref().map_or("", |(text, _)| text);
        let rules = Rules::new().read(text).map_err(|error| chain(&error))?;
        toml::from_str(text)
            .map_err(|error| chain(&error))
            .and_then(|file| check_tables(&file).map_err(|unread| unread.to_string()))?;
        Ok(self.flags.over(rules))
    }

    /// What is in the first file that is there, up to the one that was read before.
    async fn read(&mut self) -> Result<Option<(String, PathBuf)>, (PathBuf, io::Error)> {
        for (at, path) in self.paths.iter().enumerate() {
            match tokio::fs::read_to_string(path).await {
                Ok(text) if text.len() > MOST_BYTES => {
                    return Err((path.clone(), io::ErrorKind::FileTooLarge.into()));
                }
                Ok(text) => {
                    let read = (text, path.clone());
                    self.paths.truncate(at + 1);
                    return Ok(Some(read));
                }
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err((path.clone(), error)),
            }
        }
        Ok(None)
    }
}

/// Whether there is no file of that name.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory)
}
