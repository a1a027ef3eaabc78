//! `list`: which services there are.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use futures_core::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::context::Context;
use super::failure::Failure;
use super::handler::{Command, Replies};
use super::reply::{Listed, Reply};

/// Lists every service that has a live endpoint, by name.
#[derive(Args, Clone, Debug, Default)]
#[non_exhaustive]
pub struct List {
    /// Nothing, or `services`, which writes their names alone, as go-micro's micro does
    #[arg(value_name = "services", value_parser = ["services"])]
    pub noun: Option<String>,
}

impl Command for List {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            let services = list(context).await?;
            replies.send(Reply::Services(services)).await
        })
    }
}

async fn list(context: &Context) -> Result<Vec<Listed>, Failure> {
    let mut found = context.ask("to list services", context.registry().list()).await?;
    // Some registries list names alone: those are asked for one by one.
    if found.iter().any(|service| service.endpoints.is_empty()) {
        let names: BTreeSet<_> = found.into_iter().map(|service| service.name).collect();
        let each = stream::iter(names).map(|name| async move {
            context.ask(&format!("to get {name:?}"), context.registry().get(&name)).await
        });
        found = each.buffered(16).try_concat().await?;
    }
    let mut services = BTreeMap::<String, Listed>::new();
    for service in found {
        let listed = services.entry(service.name.clone()).or_insert_with(|| Listed {
            name: service.name,
            versions: Vec::new(),
            endpoints: 0,
        });
        listed.versions.push(service.version);
        listed.endpoints += service.endpoints.len();
    }
    let mut services: Vec<_> = services.into_values().collect();
    services.iter_mut().for_each(|service| service.versions.sort());
    Ok(services)
}
