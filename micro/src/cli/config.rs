//! `config`: the settings in force.

use std::path::PathBuf;

use clap::Subcommand;
use futures_core::future::BoxFuture;

use crate::command::{Command, Context, Failure, Replies, Reply, check};
use crate::settings::Settings;

/// What is asked of the settings.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum Asked {
    /// Show each setting, and who says so
    Show {
        /// Who says so, which is shown anyway
        #[arg(long)]
        origin: bool,
    },
    /// Read every file, the context and the environment, and say what is wrong with them
    Validate,
}

/// Shows the settings. That they are right is known once they are there.
#[derive(Debug)]
pub(super) struct Config<'a> {
    pub(super) settings: &'a Settings,
    /// The file whose table for the gateway is to be right too.
    pub(super) file: Option<PathBuf>,
}

impl Command for Config<'_> {
    fn run<'a>(&'a self, _: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            if let Some(file) = &self.file {
                check(file.clone()).await?;
            }
            replies.send(Reply::Settings(self.settings.shown())).await
        })
    }
}
