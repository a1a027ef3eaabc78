//! `deregister`: takes endpoints out of the registry.

use clap::Args;
use futures_core::future::BoxFuture;
use micro_discover::Service;

use super::context::Context;
use super::failure::{Failure, Kind};
use super::get::find;
use super::handler::{Command, Replies};
use super::local::is_typed;
use super::record::{Given, read};
use super::reply::{Done, Reply};
use super::words::{after, word};
use crate::near::closest;

/// Takes endpoints of a service out of the registry, whoever registered them.
///
/// A server that still announces itself comes back with its next renewal: stop it instead.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Deregister {
    /// The service's name, or a record as for register: JSON, @FILE with JSON, or -
    ///
    /// `service JSON` writes what go-micro's micro does.
    #[arg(required = true, value_name = "RECORD")]
    pub record: Vec<String>,
    /// The id of an endpoint to take out; may be given several times
    #[arg(long, conflicts_with = "all")]
    pub id: Vec<String>,
    /// Take out every endpoint of the service
    #[arg(long)]
    pub all: bool,
}

impl Command for Deregister {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            let (name, ids) = self.wanted(context).await?;
            let mut found = find(context, &name, "deregister").await?;
            if !self.all {
                keep(&mut found, &name, &ids)?;
            }
            for service in found.into_iter().filter(|service| !service.endpoints.is_empty()) {
                let tried = format!("to deregister {name:?}");
                context.ask(&tried, context.registry().withdraw(&service)).await?;
                replies.send(Reply::Done(Done { done: "deregistered", service, held: false })).await?;
            }
            Ok(())
        })
    }

    fn shows_that_it_waits(&self) -> bool {
        !is_typed(self.record.last())
    }
}

impl Deregister {
    /// Whether it was asked for in the original's way.
    pub fn is_original(&self) -> bool {
        self.record.len() > 1 && after(&self.record, "service").is_some()
    }

    /// The service, and the ids of the endpoints to take out.
    async fn wanted(&self, context: &Context) -> Result<(String, Vec<String>), Failure> {
        match read(context, &self.record).await? {
            Given::Record(_) if self.all || !self.id.is_empty() => {
                let what = "the endpoints are given twice: in the record, and by arguments";
                Err(Failure::new(Kind::Usage, what).hint("the record alone, or a name and --id"))
            }
            Given::Record(record) => {
                let ids = record.endpoints.into_iter().map(|endpoint| endpoint.id).collect();
                Ok((record.name, ids))
            }
            Given::Name(name) if self.id.is_empty() && !self.all => {
                let what = "which endpoint is to go is not said";
                let name = word(&name);
                let hint = format!("micro deregister {name} --id ID (micro get {name} shows them), or --all");
                Err(Failure::new(Kind::Usage, what).hint(hint))
            }
            Given::Name(name) => Ok((name, self.id.clone())),
        }
    }
}

/// Leaves in `found` the endpoints with one of `ids`. All of them must be there, so that nothing is done by halves.
fn keep(found: &mut [Service], name: &str, ids: &[String]) -> Result<(), Failure> {
    let there: Vec<_> = found.iter().flat_map(|s| &s.endpoints).map(|e| e.id.as_str()).collect();
    if let Some(missing) = ids.iter().find(|id| !there.contains(&id.as_str())) {
        let failure = Failure::new(Kind::NotFound, format!("service {name:?} has no endpoint {missing:?}"));
        return Err(match closest(missing, there.into_iter()) {
            Some(like) => failure.hint(format!("micro deregister {} --id {}", word(name), word(like))),
            None => failure.hint(format!("micro get {}, which shows every id", word(name))),
        });
    }
    found.iter_mut().for_each(|service| service.endpoints.retain(|endpoint| ids.contains(&endpoint.id)));
    Ok(())
}
