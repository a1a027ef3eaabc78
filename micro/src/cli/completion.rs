//! `completion`: scripts that complete command lines, by asking this program.

use clap_complete::Shell;
use clap_complete::env::Shells;
use futures_core::future::BoxFuture;

use crate::command::{Command, Context, Failure, Kind, Replies, Reply, Text};

/// Writes a script that completes command lines.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Completion {
    /// The shell that reads it
    pub(super) shell: Shell,
}

impl Completion {
    /// A script that runs `micro` with the variable `COMPLETE` whenever a word is to be completed.
    fn script(&self) -> Result<String, Failure> {
        let wrong = |error| Failure::new(Kind::Other, "the script cannot be written").source(error);
        let name = self.shell.to_string();
        let shell = Shells::builtins();
        let shell = shell
            .completer(&name)
            .ok_or_else(|| Failure::new(Kind::Usage, format!("there are no completions for {name}")))?;
        let mut script = Vec::new();
        shell.write_registration("COMPLETE", "micro", "micro", "micro", &mut script).map_err(wrong)?;
        Ok(String::from_utf8_lossy(&script).into_owned())
    }
}

impl Command for Completion {
    fn run<'a>(&'a self, _: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { replies.send(Reply::Text(Text::new(self.script()?))).await })
    }
}
