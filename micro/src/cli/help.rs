//! `help`: of a command, or on a topic.

use clap::CommandFactory;
use futures_core::future::BoxFuture;

use super::arguments::Arguments;
use super::topics::TOPICS;
use crate::command::{Command, Context, Failure, Kind, Replies, Reply, Text};
use crate::near::closest;

/// Says how a command is used, or what there is to know of a topic.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Help {
    /// A command, or a topic: exit-codes, environment, formatting, configuration, calling
    pub(super) words: Vec<String>,
}

impl Command for Help {
    fn run<'a>(&'a self, _: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { replies.send(Reply::Text(Text::new(self.text()?))).await })
    }
}

impl Help {
    fn text(&self) -> Result<String, Failure> {
        let mut command = Arguments::command();
        command.build();
        let [word, rest @ ..] = self.words.as_slice() else {
            let topics = TOPICS.map(|(name, about, _)| format!("  {name:<15}{about}\n")).concat();
            return Ok(format!("{}\nTopics, for micro help TOPIC:\n{topics}", command.render_long_help()));
        };
        if let Some((.., text)) = TOPICS.iter().find(|(name, ..)| name == word) {
            return Ok((*text).to_owned());
        }
        let Some(mut found) = command.find_subcommand_mut(word) else {
            let names = command.get_subcommands().map(|c| c.get_name().to_owned());
            let names: Vec<_> = names.chain(TOPICS.map(|(name, ..)| name.to_owned())).collect();
            let failure = Failure::new(Kind::Usage, format!("there is no command or topic {word:?}"));
            return Err(match closest(word, names.iter().map(String::as_str)) {
                Some(like) => failure.hint(format!("micro help {like}")),
                None => failure.hint("micro help"),
            });
        };
        for word in rest {
            found = found.find_subcommand_mut(word).ok_or_else(|| {
                Failure::new(Kind::Usage, format!("there is no command {}", self.words.join(" ")))
            })?;
        }
        Ok(found.render_long_help().to_string())
    }
}
