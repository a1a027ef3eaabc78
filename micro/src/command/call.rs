//! `call` and `stream`: asks a service something.

#![allow(rustdoc::broken_intra_doc_links, reason = "help texts have what may be left out in brackets")]

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures_core::future::BoxFuture;
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use micro_balance::SentTo;
use micro_discover::{Endpoint, Service};
use tokio::time::Instant;
use tonic::Status;

use super::ask::Ask;
use super::called::{Parts, failure};
use super::context::Context;
use super::failure::{Failure, Kind};
use super::get::find;
use super::handler::{Command, Replies};
use super::reply::{Answered, Metadata, NodeAnswer, Reply};
use crate::call::{Answer, Answers, Call as Asked, Caller, Documents, Error, Target, documents, what};
use crate::causes::chain;
use crate::duration;
use crate::schema::{Json, Schema};

/// Calls a method of a service, whichever kind it is, with JSON in and out.
#[derive(Args, Clone, Debug, Default)]
#[non_exhaustive]
pub struct Call {
    /// What is asked, and whom.
    #[command(flatten)]
    pub ask: Ask,
    /// Each endpoint by itself, a row for each
    #[arg(long, conflicts_with_all = ["endpoint", "address"])]
    pub each_node: bool,
    /// How long the call may take [default: 10s for one answer, no limit for a stream]
    #[arg(long, env = "MICRO_CLIENT_REQUEST_TIMEOUT", hide_env_values = true, value_parser = duration::parse)]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    pub(super) source: Source,
    /// Write fields that are at their default too
    #[arg(long)]
    pub emit_defaults: bool,
    /// Name fields as in the .proto
    #[arg(long)]
    pub proto_names: bool,
    /// Write enums as numbers
    #[arg(long)]
    pub enums_as_ints: bool,
    /// Read over fields of the request that the message does not have
    #[arg(long)]
    pub allow_unknown: bool,
    /// Show who answered, headers and trailers too, on standard error
    #[arg(long, short)]
    pub verbose: bool,
}

/// Where methods are known from, beside the server's own word.
#[derive(Args, Clone, Debug, Default)]
pub struct Source {
    /// A .proto file that has the method; may be given several times
    #[arg(long, value_name = "FILE")]
    pub proto: Vec<PathBuf>,
    /// Where .proto files and their imports are; may be given several times
    #[arg(long, short = 'I', value_name = "DIR")]
    pub import_path: Vec<PathBuf>,
    /// A descriptor set that has the method; may be given several times
    #[arg(long, value_name = "FILE")]
    pub protoset: Vec<PathBuf>,
}

impl Source {
    /// The context's caller, with what the files say.
    pub(super) async fn caller(&self, context: &Context) -> Result<Caller, Failure> {
        let caller = context.caller().clone();
        if self.proto.is_empty() && self.protoset.is_empty() {
            return Ok(caller);
        }
        context.may_name_files("the schema")?;
        let wrong = |error: crate::schema::Error| Failure::new(Kind::Usage, chain(&error));
        if !self.proto.is_empty() {
            let schema = Schema::compile(self.proto.iter(), self.import_path.iter()).map_err(wrong)?;
            return Ok(caller.schema(schema));
        }
        // Sets add up byte by byte.
        let mut sets = Vec::new();
        for path in &self.protoset {
            sets.extend(super::local::file(path).await?);
        }
        Ok(caller.schema(Schema::decode(&sets).map_err(wrong)?))
    }
}

pub(super) const USUAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How many endpoints are asked at a time.
const AT_A_TIME: usize = 64;

impl Command for Call {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            let (caller, parts) = self.begin(context).await?;
            if self.each_node {
                return self.each(context, &caller, &parts, replies).await;
            }
            self.one(context, &caller, &parts, replies).await
        })
    }

    fn shows_that_it_waits(&self) -> bool {
        !self.ask.is_typed()
    }
}

impl Call {
    async fn one(
        &self,
        context: &Context,
        caller: &Caller,
        parts: &Parts,
        replies: &Replies,
    ) -> Result<(), Failure> {
        let (parts, endpoint) = &self.aim(caller, parts);
        // What is wrong here is said before anybody is asked anything.
        let (documents, headers) =
            (self.ask.documents(context, parts).await?, self.ask.headers(context).await?);
        let sent_to = SentTo::default();
        let call = self.aimed(context, caller, parts, endpoint.as_deref(), headers).await?;
        let called = caller.call(call.sent_to(sent_to.clone()), documents).await;
        if self.verbose
            && let Some(whom) = whom(context, &parts.target, &sent_to).await
        {
            replies.send(Reply::Metadata(whom)).await?;
        }
        let done = match called {
            Ok(answers) => self.show(answers, replies).await?,
            Err(error) => Err(error),
        };
        if let (true, Err(Error::Status(status))) = (self.verbose, &done) {
            replies.send(Reply::Metadata(Metadata::new("trailer", status.metadata()))).await?;
        }
        done.map_err(|error| failure(&error, parts, context))
    }

    /// Shows answers as they come, until the last one or an error.
    async fn show(&self, mut answers: Answers, replies: &Replies) -> Result<Result<(), Error>, Failure> {
        if self.verbose {
            replies.send(Reply::Metadata(Metadata::new("header", answers.headers()))).await?;
        }
        loop {
            let answer = tokio::select! {
                answer = answers.next() => answer,
                () = replies.unread() => return Ok(Ok(())),
            };
            match answer {
                None => break,
                Some(Err(error)) => return Ok(Err(error)),
                Some(Ok(answer)) => {
                    replies.send(Reply::Answer(Answered { answer, form: self.form() })).await?;
                }
            }
        }
        if self.verbose {
            match answers.trailers().await {
                Err(error) => return Ok(Err(error)),
                Ok(trailers) => {
                    replies.send(Reply::Metadata(Metadata::new("trailer", &trailers))).await?;
                }
            }
        }
        Ok(Ok(()))
    }

    pub(super) fn asked(&self, target: Target, parts: &Parts, headers: HeaderMap) -> Asked {
        Asked::new(target, parts.method.as_str()).headers(headers).json(self.form())
    }

    /// Asks every endpoint the same, and shows them all before it says whether one of them failed.
    async fn each(
        &self,
        context: &Context,
        caller: &Caller,
        parts: &Parts,
        replies: &Replies,
    ) -> Result<(), Failure> {
        let Target::Service(name) = &parts.target else {
            return Err(Failure::new(Kind::Usage, "an address is one node").hint("the name of a service"));
        };
        let (text, headers) = (self.ask.whole(context, parts).await?, self.ask.headers(context).await?);
        let found = find(context, name, "call").await?;
        let call = self.asked(parts.target.clone(), parts, headers);
        let call = call.timeout(self.timeout.unwrap_or(USUAL_TIMEOUT));
        let ask = |(endpoint, record): (Endpoint, Service)| {
            let (call, documents) = (call.clone().endpoint(endpoint.id.as_str()), documents(&text));
            async move {
                let began = Instant::now();
                let answers = gather(caller, &record, call, documents).await;
                let latency_ms = (began.elapsed().as_secs_f64() * 1e6).round() / 1e3;
                (endpoint, latency_ms, answers)
            }
        };
        let endpoints = found.into_iter().flat_map(apart);
        let all: Vec<_> = stream::iter(endpoints).map(ask).buffered(AT_A_TIME).collect().await;
        let (mut rows, mut worst) = (Vec::new(), None);
        for (endpoint, latency_ms, answers) in all {
            let (answers, error) = match answers {
                Ok(answers) => (answers, None),
                Err(error) => {
                    let said = what(&error);
                    worst.get_or_insert(error);
                    (Vec::new(), Some(said))
                }
            };
            let answers = answers.into_iter().map(|answer| Answered { answer, form: self.form() }).collect();
            let address = endpoint.address.to_string();
            rows.push(NodeAnswer { id: endpoint.id, address, latency_ms, answers, error });
        }
        replies.send(Reply::Nodes(rows)).await?;
        worst.map_or(Ok(()), |error| Err(failure(&error, parts, context)))
    }

    fn form(&self) -> Json {
        Json::new()
            .defaults(self.emit_defaults)
            .proto_names(self.proto_names)
            .enum_numbers(self.enums_as_ints)
            .allow_unknown(self.allow_unknown)
    }
}

/// Each endpoint of `service`, with the record as it would be if there were no other.
fn apart(mut service: Service) -> impl Iterator<Item = (Endpoint, Service)> {
    let endpoints = std::mem::take(&mut service.endpoints);
    endpoints.into_iter().map(move |endpoint| (endpoint.clone(), service.clone().endpoint(endpoint)))
}

/// The endpoint that a request went to, and where that is.
async fn whom(context: &Context, target: &Target, sent_to: &SentTo) -> Option<Metadata> {
    let (Target::Service(name), Some(id)) = (target, sent_to.id()) else { return None };
    let records = context.registry().get(name).await.unwrap_or_default();
    let found = records.iter().flat_map(|record| &record.endpoints).find(|endpoint| *endpoint.id == *id);
    let address = found.map_or_else(|| "not registered any more".to_owned(), |one| one.address.to_string());
    Some(Metadata { kind: "endpoint", entries: vec![(id.to_string(), address)] })
}

/// All answers of the one endpoint that `record` has, which nobody watches the registry for.
async fn gather(
    caller: &Caller,
    record: &Service,
    call: Asked,
    documents: Documents,
) -> Result<Vec<Answer>, Error> {
    let invalid = |error: micro_discover::Error| Status::internal(error.to_string());
    let caller = match caller.is_through() {
        true => caller.clone(),
        false => caller.only(record).await.map_err(invalid)?,
    };
    let mut answers = caller.call(call, documents).await?;
    let mut all = Vec::new();
    while let Some(answer) = answers.next().await {
        all.push(answer?);
    }
    Ok(all)
}
