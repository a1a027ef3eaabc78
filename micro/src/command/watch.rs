//! `watch`: what changes, as it does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Args;
use futures_core::future::BoxFuture;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream, SelectAll};
use micro_discover::{Endpoint, EndpointId, Endpoints};
use tokio::time::{MissedTickBehavior, interval};
use tower::discover::Change;

use super::context::Context;
use super::failure::Failure;
use super::handler::{Command, Replies};
use super::reply::{Changed, Event, Reply};

/// Shows a line for each endpoint there is, and one for each that comes, changes or goes, until it is stopped.
#[derive(Args, Clone, Debug, Default)]
#[non_exhaustive]
pub struct Watch {
    /// The service's name; every service unless given
    pub name: Option<String>,
}

/// How often names are looked for, where all of them are watched.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Command for Watch {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            tokio::select! {
                () = context.stopped() => Ok(()),
                () = replies.unread() => Ok(()),
                failed = self.follow(context, replies) => failed,
            }
        })
    }

    fn is_endless(&self) -> bool {
        true
    }
}

impl Watch {
    async fn follow(&self, context: &Context, replies: &Replies) -> Result<(), Failure> {
        let mut watched = Watched::default();
        match &self.name {
            // What is wrong from the start is an error; later troubles are waited out.
            Some(name) => {
                context.ask(&format!("to watch {name:?}"), context.registry().get(name)).await?;
                watched.add(context, name);
            }
            None => watched.look(context).await?,
        }
        let mut again = interval(LOOK_EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(changed) = watched.next() => replies.send(Reply::Changed(changed)).await?,
                _ = again.tick(), if self.name.is_none() => {
                    // The watches of the names that are known go on.
                    watched.look(context).await.ok();
                }
            }
        }
    }
}

/// The services that are watched, and the endpoints they are known to have.
#[derive(Default)]
struct Watched {
    names: BTreeSet<String>,
    changes: SelectAll<BoxStream<'static, (String, Change<EndpointId, Endpoint>)>>,
    known: BTreeMap<(String, EndpointId), Endpoint>,
}

impl Watched {
    fn add(&mut self, context: &Context, name: &str) {
        if self.names.insert(name.to_owned()) {
            let watch = micro_discover::Watch::new(context.registry().clone(), name);
            let names = stream::repeat(name.to_owned());
            let changes = Endpoints::new(watch).map(|change| match change {
                Ok(change) => change,
                Err(never) => match never {},
            });
            self.changes.push(names.zip(changes).boxed());
        }
    }

    async fn look(&mut self, context: &Context) -> Result<(), Failure> {
        let services = context.ask("to list services", context.registry().list()).await?;
        services.iter().for_each(|service| self.add(context, &service.name));
        Ok(())
    }

    /// The next change. None when nothing is watched yet.
    async fn next(&mut self) -> Option<Changed> {
        loop {
            let (service, change) = self.changes.next().await?;
            let (event, endpoint) = match change {
                Change::Insert(id, endpoint) => {
                    let before = self.known.insert((service.clone(), id), endpoint.clone());
                    (if before.is_some() { Event::Changed } else { Event::Added }, endpoint)
                }
                Change::Remove(id) => match self.known.remove(&(service.clone(), id)) {
                    Some(endpoint) => (Event::Removed, endpoint),
                    // The registry has answered, and there is nobody.
                    None => continue,
                },
            };
            return Some(Changed { event, service, endpoint });
        }
    }
}
