//! `context`: settings with a name.

use std::collections::BTreeMap;

use futures_core::future::BoxFuture;

use crate::command::{Command, Context, Failure, Kind, NamedContext, Replies, Reply, Text, redacted};
use crate::settings::{Contexts, Given, KEYS, Layer};

/// What is asked of the contexts.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Asked {
    /// ls, add NAME, use NAME, rm NAME, show [NAME], export NAME; - for the one that was in use before
    #[arg(value_name = "ACTION")]
    action: Vec<String>,
}

/// Lists, makes, chooses and removes contexts.
#[derive(Debug)]
pub(super) struct Choose<'a> {
    pub(super) asked: &'a Asked,
    pub(super) given: &'a Given,
}

impl Command for Choose<'_> {
    fn run<'a>(&'a self, _: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { replies.send(self.reply()?).await })
    }
}

impl Choose<'_> {
    fn reply(&self) -> Result<Reply, Failure> {
        let home = self.given.home.as_ref().ok_or_else(|| {
            Failure::new(Kind::Config, "this user has no directory for contexts")
                .hint("XDG_CONFIG_HOME or HOME")
        })?;
        let contexts = Contexts::new(home);
        let words: Vec<_> = self.asked.action.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] | ["ls" | "list"] => {
                let shown: Result<Vec<_>, _> =
                    contexts.names().iter().map(|name| shown(&contexts, name)).collect();
                Ok(Reply::Contexts(shown?))
            }
            ["add", name] => {
                contexts.put(name, &self.given.flags)?;
                Ok(Reply::Contexts(vec![shown(&contexts, name)?]))
            }
            ["use", name] | [name @ "-"] => {
                let name = contexts.choose(name)?;
                Ok(Reply::Contexts(vec![shown(&contexts, &name)?]))
            }
            ["rm" | "remove", name] => {
                let gone = shown(&contexts, name)?;
                contexts.remove(name)?;
                Ok(Reply::Contexts(vec![gone]))
            }
            ["show"] => {
                let name = match &self.given.context {
                    Some(name) => Some(name.clone()),
                    None => contexts.current()?,
                };
                let name = name.ok_or_else(|| Failure::new(Kind::NotFound, "no context is in use"))?;
                Ok(Reply::Contexts(vec![shown(&contexts, &name)?]))
            }
            ["show", name] => Ok(Reply::Contexts(vec![shown(&contexts, name)?])),
            // Whoever asks for the file gets all of it.
            ["export", name] => Ok(Reply::Text(Text::new(contexts.get(name)?.to_toml()))),
            [verb @ ("add" | "use" | "rm" | "remove" | "export")] => {
                Err(Failure::new(Kind::Usage, "which context is meant is not said")
                    .hint(format!("micro context {verb} NAME; micro context ls names them")))
            }
            _ => {
                let what = format!("a context cannot be told to {}", words.join(" "));
                Err(Failure::new(Kind::Usage, what)
                    .hint("ls, add NAME, use NAME, rm NAME, show [NAME], export NAME, or -"))
            }
        }
    }
}

fn shown(contexts: &Contexts, name: &str) -> Result<NamedContext, Failure> {
    let layer = contexts.get(name)?;
    let current = contexts.current()?.as_deref() == Some(name);
    Ok(NamedContext::new(name.to_owned(), current, settings(&layer)))
}

fn settings(layer: &Layer) -> BTreeMap<String, String> {
    let secret = |name: &str| KEYS.iter().any(|key| key.name == name && key.secret);
    let shown = |value: &str, secret| if secret { redacted(value) } else { value.to_owned() };
    layer.iter().map(|(name, value)| (name.to_owned(), shown(value, secret(name)))).collect()
}
