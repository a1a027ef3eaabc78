//! `register`: announces a record, and holds it.

use std::time::Duration;

use clap::Args;
use futures_core::future::BoxFuture;
use micro_discover::{Address, Announce, Endpoint, Method, Service};

use super::context::Context;
use super::failure::{Failure, Kind};
use super::handler::{Command, Replies};
use super::local::is_typed;
use super::record::{Given, read};
use super::reply::{Done, Reply};
use super::words::{after, word};
use crate::duration;
use crate::id;

/// Registers an endpoint, and renews it until the command is stopped; then deregisters it.
///
/// With --ttl 0 it is registered for good, and the command ends at once.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Register {
    /// The service's name, or a whole record: JSON, @FILE with JSON, or - for JSON from standard input
    ///
    /// `service JSON` registers for good, and writes what go-micro's micro does.
    #[arg(required = true, value_name = "RECORD")]
    pub record: Vec<String>,
    /// Where the endpoint listens: host:port, https://host:port, unix:/path
    #[arg(long, short)]
    pub address: Option<Address>,
    /// The endpoint's id, unique in the service [default: made of the name and the address]
    #[arg(long)]
    pub id: Option<String>,
    /// The service's version [default: latest]
    #[arg(long)]
    pub version: Option<String>,
    /// The endpoint's share of the load; 0 drains it [default: 1]
    #[arg(long, allow_negative_numbers = true)]
    pub weight: Option<u32>,
    /// The endpoint's failure domain
    #[arg(long)]
    pub zone: Option<String>,
    /// Endpoints of priority 0 are asked first [default: 0]
    #[arg(long, allow_negative_numbers = true)]
    pub priority: Option<u32>,
    /// A label of the endpoint; may be given several times
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = label)]
    pub metadata: Vec<(String, String)>,
    /// A method of the service, such as /greeter.Greeter/Hello; may be given several times
    #[arg(long)]
    pub method: Vec<String>,
    /// For how long others believe in the endpoint when this command falls silent; 0 for good [default: 15s]
    #[arg(long, env = "MICRO_REGISTER_TTL", hide_env_values = true, value_parser = duration::parse)]
    pub ttl: Option<Duration>,
}

/// Shorter leases would be renewed several times a second.
const SHORTEST_TTL: Duration = Duration::from_secs(1);
/// Registries without a server that keeps anything: who announces something there answers for it.
const KEPT_BY_NOBODY: [&str; 3] = ["memory", "mdns", "nats"];
const USUAL_TTL: Duration = Duration::from_secs(15);

impl Command for Register {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.register(context, replies))
    }

    fn is_endless(&self) -> bool {
        !self.ttl().is_zero()
    }

    fn shows_that_it_waits(&self) -> bool {
        !is_typed(self.record.last())
    }
}

impl Register {
    /// Whether it was asked for in the original's way.
    pub fn is_original(&self) -> bool {
        self.record.len() > 1 && after(&self.record, "service").is_some()
    }

    fn ttl(&self) -> Duration {
        self.ttl.unwrap_or(if self.is_original() { Duration::ZERO } else { USUAL_TTL })
    }

    async fn register(&self, context: &Context, replies: &Replies) -> Result<(), Failure> {
        let service = self.service(context).await?;
        let registry = context.registry().clone();
        let ttl = self.ttl();
        let held = !ttl.is_zero();
        if held && ttl < SHORTEST_TTL {
            return Err(Failure::new(Kind::Usage, "a TTL is 1s at least").hint("--ttl 15s, or 0 for good"));
        }
        let scheme = context.url().split(':').next().unwrap_or_default();
        if !held && KEPT_BY_NOBODY.contains(&scheme) {
            let what = format!(
                "what is in a registry of {scheme}: ends with this command: nothing stays registered"
            );
            return Err(
                Failure::new(Kind::Usage, what).hint("another --ttl, which holds it, or --registry file:")
            );
        }
        // Told at once when it cannot be done; later troubles are waited out by the announcement.
        let tried = format!("to register {:?}", service.name);
        context.ask(&tried, registry.announce(&service, ttl)).await?;
        let done = |done| Reply::Done(Done { done, service: service.clone(), held });
        if !held {
            return replies.send(done("registered")).await;
        }
        let announce = Announce::new(registry, service.clone()).ttl(ttl);
        let announcement = context.ask(&tried, announce.start()).await?;
        let shown = replies.send(done("registered")).await;
        if shown.is_ok() {
            context.stopped().await;
        }
        context.ask(&format!("to deregister {:?}", service.name), announcement.withdraw()).await?;
        shown?;
        replies.send(done("deregistered")).await
    }

    /// The record that the arguments give.
    async fn service(&self, context: &Context) -> Result<Service, Failure> {
        match read(context, &self.record).await? {
            Given::Record(_) if self.describes() => {
                let what = "the record is given twice: as JSON, and by arguments";
                Err(Failure::new(Kind::Usage, what).hint("the JSON alone, or a name and --address"))
            }
            Given::Record(record) => Ok(*record),
            Given::Name(name) => self.named(name),
        }
    }

    fn describes(&self) -> bool {
        let numbers = self.weight.or(self.priority).is_some();
        let words = [&self.id, &self.version, &self.zone].into_iter().any(Option::is_some);
        numbers || words || self.address.is_some() || !self.metadata.is_empty() || !self.method.is_empty()
    }

    fn named(&self, name: String) -> Result<Service, Failure> {
        let Some(address) = self.address.clone() else {
            return Err(Failure::new(Kind::Usage, "where the endpoint listens is not said")
                .hint(format!("micro register {} --address 127.0.0.1:50051", word(&name))));
        };
        let id = self.id.clone().unwrap_or_else(|| id::of(&name, &address));
        let mut endpoint =
            Endpoint::new(id, address).weight(self.weight.unwrap_or(1)).priority(self.priority.unwrap_or(0));
        endpoint.zone.clone_from(&self.zone);
        endpoint.metadata = self.metadata.iter().cloned().collect();
        let mut service = Service::new(name).endpoint(endpoint);
        if let Some(version) = &self.version {
            service = service.version(version);
        }
        service.methods = self.method.iter().map(Method::new).collect();
        service.validate().map_err(|error| Failure::new(Kind::Usage, error.to_string()))?;
        Ok(service)
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is KEY=VALUE".to_owned()),
    }
}
