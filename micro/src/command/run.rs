//! `run`: a service under development: built, started, and started again when it crashes or changes.

mod child;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures_core::future::BoxFuture;
use tokio::time::{Instant, sleep};

use self::child::{Child, Ended};
use self::watch::Changes;
use super::context::Context;
use super::failure::{Failure, Kind};
use super::handler::{Command, Replies};
use super::reply::{Log, Reply};

/// Starts a service and shows its logs; starts it again when it crashes, or when its files change.
///
/// A service in Rust is built first; while a change does not build, the one before goes on.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Run {
    /// The service's directory
    #[arg(default_value = ".", hide_default_value = true)]
    pub dir: PathBuf,
    /// What to run in it [default: cargo run]
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// What its logs are marked with [default: the directory's name]
    #[arg(long)]
    pub name: Option<String>,
    /// A file or directory whose change starts it again; may be given several times [default: DIR]
    #[arg(long, value_name = "PATH")]
    pub watch: Vec<PathBuf>,
    /// Variables that the service is given, beside this process's own
    #[arg(skip)]
    pub variables: Vec<(String, String)>,
}

/// The wait after a crash, which doubles with each, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Whoever ran for so long has not crashed again, but anew.
const STEADY: Duration = Duration::from_secs(10);

impl Command for Run {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            context.may_name_files("the service")?;
            let mut service = Service::new(self, replies)?;
            let done = tokio::select! {
                () = context.stopped() => Ok(()),
                done = service.keep_up() => done,
            };
            service.stop().await;
            done
        })
    }

    fn is_endless(&self) -> bool {
        true
    }

    fn workers(&self) -> usize {
        0
    }
}

/// The service, as it is now.
struct Service<'a> {
    name: String,
    dir: PathBuf,
    build: Option<Vec<String>>,
    command: Vec<String>,
    variables: &'a [(String, String)],
    changes: Changes,
    child: Option<Child>,
    replies: &'a Replies,
}

impl<'a> Service<'a> {
    fn new(run: &'a Run, replies: &'a Replies) -> Result<Self, Failure> {
        let dir = run.dir.canonicalize().map_err(|error| {
            Failure::new(Kind::Usage, format!("there is no directory {}", run.dir.display())).source(error)
        })?;
        let cargo = |verb: &str| ["cargo", verb, "--quiet"].map(str::to_owned).to_vec();
        let (build, command) = match run.command.as_slice() {
            [] if dir.join("Cargo.toml").is_file() => (Some(cargo("build")), cargo("run")),
            [] => {
                let what = format!("{} has no Cargo.toml: what is to be run is not said", dir.display());
                return Err(Failure::new(Kind::Usage, what).hint("micro run DIR -- COMMAND"));
            }
            given => (None, given.to_vec()),
        };
        let watched = if run.watch.is_empty() { vec![dir.clone()] } else { run.watch.clone() };
        let name =
            || dir.file_name().map_or("service".to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(Self {
            name: run.name.clone().unwrap_or_else(name),
            changes: Changes::of(&watched)?,
            dir,
            build,
            command,
            variables: &run.variables,
            child: None,
            replies,
        })
    }

    /// Builds, starts, and starts again; ends only when nobody reads the logs any more.
    async fn keep_up(&mut self) -> Result<(), Failure> {
        let mut wait = FIRST_WAIT;
        loop {
            if !self.build().await? {
                self.say("does not build; waiting for a change").await?;
                self.changes.next().await;
                continue;
            }
            self.stop().await;
            let began = Instant::now();
            match self.start() {
                Ok(child) => self.child = Some(child),
                Err(error) => {
                    self.say(&format!("cannot be started: {error}; waiting for a change")).await?;
                    self.changes.next().await;
                    continue;
                }
            }
            self.say("started").await?;
            match self.until_end_or_change().await? {
                None => {
                    self.say("changed").await?;
                    wait = FIRST_WAIT;
                }
                Some(Ended { well: true, .. }) => {
                    self.say("ended; waiting for a change").await?;
                    self.changes.next().await;
                }
                Some(Ended { how, .. }) => {
                    if began.elapsed() >= STEADY {
                        wait = FIRST_WAIT;
                    }
                    self.say(&format!("crashed ({how}); starting again in {wait:?}")).await?;
                    tokio::select! {
                        () = sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
                        () = self.changes.next() => wait = FIRST_WAIT,
                    }
                }
            }
        }
    }

    /// Shows what it writes. None when its files have changed.
    async fn until_end_or_change(&mut self) -> Result<Option<Ended>, Failure> {
        loop {
            let Some(child) = &mut self.child else { return Ok(None) };
            tokio::select! {
                line = child.line() => match line {
                    Ok((stream, line)) => self.show(stream, line).await?,
                    Err(ended) => {
                        self.child = None;
                        return Ok(Some(ended));
                    }
                },
                () = self.changes.next() => return Ok(None),
            }
        }
    }

    /// Whether it builds. What the compiler says is shown.
    async fn build(&mut self) -> Result<bool, Failure> {
        let Some(command) = &self.build else { return Ok(true) };
        let mut child = match Child::start(command, &self.dir, &[]) {
            Ok(child) => child,
            Err(error) => return Err(Failure::new(Kind::Other, "cargo cannot be started").source(error)),
        };
        loop {
            match child.line().await {
                Ok((_, line)) => self.show("build", line).await?,
                Err(ended) => return Ok(ended.well),
            }
        }
    }

    fn start(&self) -> std::io::Result<Child> {
        Child::start(&self.command, &self.dir, self.variables)
    }

    async fn stop(&mut self) {
        if let Some(child) = self.child.take() {
            child.stop().await;
        }
    }

    async fn say(&self, line: &str) -> Result<(), Failure> {
        self.show("micro", line.to_owned()).await
    }

    async fn show(&self, stream: &'static str, line: String) -> Result<(), Failure> {
        self.replies.send(Reply::Log(Log { name: self.name.clone(), stream, line })).await
    }
}

/// Whether a change of `path` matters: not of what is built, nor of what is hidden.
fn matters(path: &Path, below: &[PathBuf]) -> bool {
    let inner = below.iter().find_map(|dir| path.strip_prefix(dir).ok()).unwrap_or(path);
    !inner.components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        name == "target" || name.starts_with('.') && name.len() > 1 || name.ends_with('~')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_or_hidden_does_not_count_as_a_change() {
        let below = [PathBuf::from("/home/.me/target/app")];
        for (path, counts) in [
            ("/home/.me/target/app/src/main.rs", true),
            ("/home/.me/target/app/target/debug/app", false),
            ("/home/.me/target/app/.git/index", false),
            ("/home/.me/target/app/src/main.rs~", false),
        ] {
            assert_eq!(matters(Path::new(path), &below), counts, "{path}");
        }
    }
}
