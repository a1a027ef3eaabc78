//! `completion`: scripts that complete command lines.

use clap::CommandFactory;
use clap_complete::{Shell, generate};
use futures_core::future::BoxFuture;

use super::arguments::Arguments;
use crate::command::{Command, Context, Failure, Kind, Replies, Reply, Text};

/// Writes a script that completes command lines.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Completion {
    /// The shell that reads it
    pub(super) shell: Shell,
}

impl Command for Completion {
    fn run<'a>(&'a self, _: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            let mut script = Vec::new();
            generate(self.shell, &mut Arguments::command(), "micro", &mut script);
            let script = String::from_utf8(script)
                .map_err(|error| Failure::new(Kind::Other, "the script is no text").source(error))?;
            replies.send(Reply::Text(Text::new(script))).await
        })
    }
}
