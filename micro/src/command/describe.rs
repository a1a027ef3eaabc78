//! `describe`: what a service can be asked, by its own word.

use std::path::PathBuf;

use clap::Args;
use futures_core::future::BoxFuture;
use prost_reflect::{MethodDescriptor, ServiceDescriptor};

use super::call::Source;
use super::called::{Parts, failure};
use super::context::Context;
use super::failure::{Failure, Kind};
use super::get::find;
use super::handler::{Command, Replies};
use super::reply::{Described, Reply};
use super::words::word;
use crate::call::{Error, Target};
use crate::near::closest;
use crate::schema::{self, Schema, print, template};

/// Shows what a service can be asked, as a .proto would: by server reflection, or by files.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Describe {
    /// The service's name, or an address
    #[arg(value_name = "SERVICE")]
    pub target: String,
    /// A service, method, message or enum of it
    #[arg(value_name = "SYMBOL")]
    pub symbol: Option<String>,
    /// An example of each request, as JSON to fill in
    #[arg(long)]
    pub template: bool,
    /// Only the endpoint with this id or address
    #[arg(long, value_name = "ID")]
    pub endpoint: Option<String>,
    /// Also writes all that the service says as a descriptor set, for --protoset and for other tools; replaces the file
    #[arg(long, value_name = "FILE")]
    pub protoset_out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) source: Source,
}

impl Command for Describe {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            // `greeter/Greeter.Hello` says both.
            let (target, symbol) = match (Parts::read(std::slice::from_ref(&self.target)), &self.symbol) {
                (Ok(parts), None) => (parts.target, Some(parts.method)),
                _ => {
                    let Ok(target) = self.target.parse();
                    (target, self.symbol.clone())
                }
            };
            if self.protoset_out.is_some() {
                context.may_write_files("a descriptor set")?;
            }
            let schema = self.schema(context, &target, symbol.as_deref()).await?;
            let described = match &symbol {
                Some(symbol) => vec![self.one(&schema, &target, symbol)?],
                None => schema.services().iter().map(|service| self.service(service)).collect(),
            };
            if let Some(path) = &self.protoset_out {
                let cannot = |error| {
                    Failure::new(Kind::Other, format!("cannot write {}", path.display())).source(error)
                };
                tokio::fs::write(path, schema.encode()).await.map_err(cannot)?;
            }
            replies.send(Reply::Described(described)).await
        })
    }
}

impl Describe {
    async fn schema(
        &self,
        context: &Context,
        target: &Target,
        symbol: Option<&str>,
    ) -> Result<Schema, Failure> {
        let caller = self.source.caller(context).await?;
        if let Some(schema) = caller.given() {
            return Ok(schema.clone());
        }
        if let Target::Service(name) = target {
            find(context, name, "describe").await?;
        }
        let parts = || Parts {
            target: target.clone(),
            method: symbol.unwrap_or("reflection").to_owned(),
            json: None,
        };
        let wrong = |error: schema::Error| failure(&Error::Schema(error), &parts(), context);
        caller.reflected(target, self.endpoint.as_deref()).await.map_err(wrong)
    }

    fn service(&self, service: &ServiceDescriptor) -> Described {
        Described {
            name: service.full_name().to_owned(),
            kind: "service",
            proto: print::service(service),
            methods: service.methods().map(|method| method.name().to_owned()).collect(),
            template: self.template.then(|| {
                let filled = |method: MethodDescriptor| (method.name().to_owned(), template(&method.input()));
                service.methods().map(filled).collect()
            }),
        }
    }

    fn method(&self, method: &MethodDescriptor) -> Described {
        let mut proto = print::method(method) + "\n";
        let (input, output) = (method.input(), method.output());
        proto += &format!("\n{}", print::message(&input));
        if output != input {
            proto += &format!("\n{}", print::message(&output));
        }
        Described {
            name: method.full_name().to_owned(),
            kind: "method",
            proto,
            methods: Vec::new(),
            template: self.template.then(|| template(&input)),
        }
    }

    fn one(&self, schema: &Schema, target: &Target, symbol: &str) -> Result<Described, Failure> {
        let plain = symbol.trim_start_matches('.');
        let described = |kind, proto, template| Described {
            name: plain.to_owned(),
            kind,
            proto,
            methods: Vec::new(),
            template,
        };
        let ends = |name: &str| name == plain || name.strip_suffix(plain).is_some_and(|b| b.ends_with('.'));
        if let Some(service) = schema.services().iter().find(|service| ends(service.full_name())) {
            return Ok(self.service(service));
        }
        let missing = match schema.method(symbol) {
            Ok(method) => return Ok(self.method(&method)),
            Err(missing) => missing,
        };
        if let Some(message) = schema.pool().all_messages().find(|message| ends(message.full_name())) {
            let filled = self.template.then(|| template(&message));
            return Ok(described("message", print::message(&message), filled));
        }
        if let Some(each) = schema.pool().all_enums().find(|each| ends(each.full_name())) {
            return Ok(described("enum", print::enumeration(&each), None));
        }
        let failure = Failure::new(Kind::NotFound, format!("{target} has nothing called {symbol:?}"));
        let target = word(&target.to_string());
        if let schema::Error::NoMethod { like: Some(like), .. } = &missing {
            return Err(failure.hint(format!("micro describe {target} {like}")));
        }
        // What is mistyped is most often the last word.
        let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
        let names: Vec<_> = schema.pool().all_messages().map(|message| last(message.full_name())).collect();
        Err(match closest(&last(plain), names.iter().map(String::as_str)) {
            Some(like) => failure.hint(format!("micro describe {target} {like}")),
            None => failure.hint(format!("micro describe {target}")),
        })
    }
}
