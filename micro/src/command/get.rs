//! `get`: all that is known of a service.

use clap::Args;
use futures_core::future::BoxFuture;
use micro_discover::Service;

use super::context::Context;
use super::failure::{Failure, Kind};
use super::handler::{Command, Replies};
use super::missing;
use super::reply::Reply;
use super::words::after;

/// Shows a service: its versions, their methods and their endpoints.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Get {
    /// The service's name; `service NAME` writes what go-micro's micro does
    #[arg(required = true, value_name = "NAME")]
    pub words: Vec<String>,
}

impl Get {
    /// Shows the service `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { words: vec![name.into()] }
    }

    /// Whether it was asked for in the original's way.
    pub fn is_original(&self) -> bool {
        self.words.len() > 1 && after(&self.words, "service").is_some()
    }

    fn name(&self) -> Result<&str, Failure> {
        match (after(&self.words, "service"), self.words.as_slice()) {
            (Some([name]), _) | (None, [name]) => Ok(name),
            (Some([]), _) => {
                Err(Failure::new(Kind::Usage, "service requested").hint("micro get service NAME"))
            }
            _ => Err(Failure::new(Kind::Usage, "one service at a time").hint("micro get NAME")),
        }
    }
}

impl Command for Get {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            let records = find(context, self.name()?, "get").await?;
            replies.send(Reply::Service(records)).await
        })
    }
}

/// The records of the service `name`, one per version and one at least. `verb` is the command that needs them.
pub(super) async fn find(context: &Context, name: &str, verb: &str) -> Result<Vec<Service>, Failure> {
    let mut records = context.ask(&format!("to get {name:?}"), context.registry().get(name)).await?;
    if records.is_empty() {
        return Err(missing::service(context, name, verb).await);
    }
    records.sort_by(|one, other| one.version.cmp(&other.version));
    Ok(records)
}
