//! `health`: asks every endpoint of a service how it is.

use std::time::Duration;

use clap::Args;
use futures_core::future::BoxFuture;
use futures_util::{StreamExt, stream};
use micro_discover::Endpoint;
use micro_tower::transport::{Connection, Connector, HttpVersion};
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt;

use super::context::Context;
use super::failure::{Failure, Kind};
use super::get::find;
use super::handler::{Command, Replies};
use super::reply::{Checked, Progress, Reply, State};
use super::words::word;
use crate::call::{ask_one, is_go_micro};
use crate::causes::root;
use crate::duration::{self, after};

/// Asks each endpoint of a service whether it serves, by gRPC health checks (grpc.health.v1).
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// The service's name
    pub name: String,
    /// The gRPC service to ask for, such as greeter.Greeter [default: the whole server]
    #[arg(long, default_value = "", hide_default_value = true)]
    pub service: String,
    /// How long connecting and answering may take
    #[arg(long, default_value = "2s", value_parser = duration::parse)]
    pub timeout: Duration,
    /// Ask again until every endpoint serves, for so long at most
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub wait: Option<Duration>,
}

/// How many endpoints are asked at a time.
const AT_A_TIME: usize = 64;
/// How long it is until they are asked again.
const AGAIN: Duration = Duration::from_millis(250);

impl Health {
    /// Asks the endpoints of the service `name`, for 2 s each.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), service: String::new(), timeout: Duration::from_secs(2), wait: None }
    }

    pub(super) async fn check(&self, context: &Context, version: String, endpoint: Endpoint) -> Checked {
        let connector = context.connector().clone().connect_timeout(self.timeout).service(self.name.as_str());
        let mut checked = Checked {
            service: self.name.clone(),
            version,
            address: endpoint.address.to_string(),
            state: State::Timeout,
            connect_ms: None,
            latency_ms: None,
            error: None,
            id: endpoint.id.clone(),
        };
        if is_go_micro(&endpoint) {
            self.ask_debug(connector, &endpoint, &mut checked).await;
            return checked;
        }
        let connector = connector.http_version(HttpVersion::Http2);
        if timeout(self.timeout, self.ask(connector.connect(&endpoint), &mut checked)).await.is_err() {
            let part = if checked.connect_ms.is_some() { "answer" } else { "connection" };
            checked.error = Some(format!("no {part} within {:?}", self.timeout));
        }
        checked
    }

    /// As go-micro's servers are asked.
    async fn ask_debug(&self, connector: Connector, endpoint: &Endpoint, checked: &mut Checked) {
        let began = Instant::now();
        let answer = ask_one(connector, &self.name, endpoint, "Debug.Health", self.timeout).await;
        checked.latency_ms = Some(millis(began));
        match answer {
            Ok(answer) if answer["status"] == "ok" => checked.state = State::Serving,
            Ok(answer) => {
                checked.state = State::NotServing;
                checked.error = Some(answer["status"].as_str().unwrap_or("no status").to_owned());
            }
            Err(status) => {
                checked.state = match status.code() {
                    Code::Unavailable => State::Unreachable,
                    Code::DeadlineExceeded => State::Timeout,
                    Code::Unimplemented | Code::NotFound => State::Unimplemented,
                    _ => State::Failed,
                };
                checked.error = Some(status.message().to_owned());
            }
        }
    }

    async fn ask(&self, mut connection: Connection, checked: &mut Checked) {
        let began = Instant::now();
        if let Err(error) = ServiceExt::ready(&mut connection).await {
            checked.state = State::Unreachable;
            checked.error = Some(root(&*error));
            return;
        }
        checked.connect_ms = Some(millis(began));
        let asked = Instant::now();
        let question = HealthCheckRequest { service: self.service.clone() };
        let answer = HealthClient::new(connection).check(question).await;
        checked.latency_ms = Some(millis(asked));
        match answer {
            Ok(answer) => {
                checked.state = match answer.into_inner().status() {
                    ServingStatus::Serving => State::Serving,
                    ServingStatus::NotServing => State::NotServing,
                    ServingStatus::ServiceUnknown => State::ServiceUnknown,
                    ServingStatus::Unknown => State::Unknown,
                }
            }
            Err(status) => {
                checked.state = match status.code() {
                    Code::NotFound => State::ServiceUnknown,
                    Code::Unimplemented => State::Unimplemented,
                    _ => State::Failed,
                };
                checked.error = Some(match status.message() {
                    "" => status.code().to_string(),
                    message => message.to_owned(),
                });
            }
        }
    }
}

/// To a microsecond.
fn millis(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1_000_000.0).round() / 1000.0
}

impl Command for Health {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            let end = after(Instant::now(), self.wait.unwrap_or_default());
            let checked = loop {
                let asked = self.ask_all(context).await;
                let missing = self.missing(&asked).filter(|_| Instant::now() + AGAIN < end);
                let Some(missing) = missing else { break asked? };
                replies.send(Reply::Progress(Progress::new(format!("waiting: {missing}")))).await?;
                sleep(AGAIN).await;
            };
            let (all, well) = (checked.len(), serving(&checked));
            replies.send(Reply::Health(checked)).await?;
            if well == all {
                return Ok(());
            }
            let what = format!("{} of {all} endpoints of {:?} do not serve", all - well, self.name);
            Err(Failure::new(Kind::NotServing, what)
                .tried("grpc.health.v1.Health/Check on each endpoint")
                .hint(format!("micro get {}, or a longer --timeout", word(&self.name))))
        })
    }
}

impl Health {
    async fn ask_all(&self, context: &Context) -> Result<Vec<Checked>, Failure> {
        let found = find(context, &self.name, "health").await?;
        let each = found.into_iter().flat_map(|service| {
            let version = service.version;
            service.endpoints.into_iter().map(move |endpoint| (version.clone(), endpoint))
        });
        let checks = stream::iter(each).map(|(version, endpoint)| self.check(context, version, endpoint));
        Ok(checks.buffered(AT_A_TIME).collect().await)
    }

    /// What there is to wait for; none where asking again is no use.
    fn missing(&self, asked: &Result<Vec<Checked>, Failure>) -> Option<String> {
        match asked {
            Ok(checked) => {
                let (all, well) = (checked.len(), serving(checked));
                (well < all).then(|| format!("{well} of {all} endpoints of {:?} serve", self.name))
            }
            Err(failure) => {
                let passes = [Kind::NotFound, Kind::Unavailable, Kind::Timeout].contains(&failure.kind());
                passes.then(|| failure.to_string())
            }
        }
    }
}

fn serving(checked: &[Checked]) -> usize {
    checked.iter().filter(|one| one.state == State::Serving).count()
}
