//! Whether an endpoint can be connected to, says that it serves, says what it can be asked, and for how long its
//! certificate is good.

use std::time::Duration;

use micro_discover::Endpoint;
use micro_tower::transport::HttpVersion;
use tokio::net::TcpStream;

use super::registry::counted;
use super::within::within;
use super::{certificate, hosts};
use crate::call::is_go_micro;
use crate::causes::chain;
use crate::command::context::Context;
use crate::command::health::Health;
use crate::command::reply::{Checked, Finding, Outcome, State};
use crate::command::words::word;
use crate::schema::{self, Schema};

/// Everything about one endpoint of the service `name`.
pub(super) async fn look(
    context: &Context,
    name: &str,
    endpoint: &Endpoint,
    limit: Duration,
) -> Vec<Finding> {
    let about = format!("{name} {}", endpoint.id);
    let host = hosts::at(&endpoint.address);
    let mut found = Vec::new();
    if let Some((host, port)) = &host {
        found.push(connected(&about, name, endpoint, (host, *port), limit).await);
        if found.iter().any(|one| one.outcome == Outcome::Failed) {
            let skipped = |check| Finding::skipped(check, about.as_str(), "nobody is there");
            found.extend(["health", "reflection"].map(skipped));
            return found;
        }
    }
    let secure = endpoint.address.scheme() == "https";
    let shown = async {
        match host.filter(|_| secure) {
            Some(host) => Some(certificate::of_server(&about, &host, limit).await),
            None => None,
        }
    };
    let asked = Health { timeout: limit, ..Health::new(name) };
    let (shown, checked, reflected) = tokio::join!(
        shown,
        asked.check(context, String::new(), endpoint.clone()),
        reflected(context, name, endpoint, &about, limit),
    );
    found.extend(shown);
    let speaks_grpc = matches!(reflected.outcome, Outcome::Ok);
    found.push(health(&about, name, &checked, secure || speaks_grpc));
    found.push(reflected);
    found
}

async fn connected(
    about: &str,
    name: &str,
    endpoint: &Endpoint,
    host: (&str, u16),
    limit: Duration,
) -> Finding {
    let at = &endpoint.address;
    let gone = format!("micro deregister {} --id {}", word(name), word(&endpoint.id));
    let hint = format!("starting what is registered there, or {gone} if it is gone");
    let look = async {
        match TcpStream::connect(host).await {
            Ok(_) => Finding::ok("endpoint", about, format!("listens at {at}")),
            Err(error) => Finding::failed("endpoint", about, format!("{at}: {error}"), &hint),
        }
    };
    let late = Finding::failed("endpoint", about, format!("{at}: no connection within {limit:?}"), &hint);
    within(limit, look, late).await
}

/// What a health check says; `expected` is whether the endpoint is known to be one that can be asked.
fn health(about: &str, name: &str, checked: &Checked, expected: bool) -> Finding {
    let said = checked.error.clone();
    let said = move |usual: &str| said.unwrap_or_else(|| usual.to_owned());
    let command = format!("micro health {}", word(name));
    let found = match checked.state {
        State::Serving => Finding::ok("health", about, "serves"),
        State::NotServing => {
            Finding::failed("health", about, said("it says that it does not serve"), command)
        }
        State::Unimplemented | State::ServiceUnknown | State::Unknown => {
            let hint = "grpc.health.v1 there: by tonic-health, or micro_tower::Server, which has it";
            Finding::warning("health", about, said("it does not say whether it serves"), hint)
        }
        State::Unreachable if expected => Finding::failed(
            "health",
            about,
            said("it cannot be asked"),
            "--ca FILE or --tls-name, if that is it",
        ),
        State::Unreachable => {
            let hint = "nothing, if that is no server of gRPC, such as a web app";
            Finding::warning("health", about, said("it cannot be asked"), hint)
        }
        State::Timeout | State::Failed => {
            Finding::failed("health", about, said("it does not answer"), command)
        }
    };
    match checked.latency_ms {
        Some(took) => found.took(took),
        None => found,
    }
}

/// Whether it says what it can be asked.
async fn reflected(
    context: &Context,
    name: &str,
    endpoint: &Endpoint,
    about: &str,
    limit: Duration,
) -> Finding {
    if is_go_micro(endpoint) {
        return Finding::skipped(
            "reflection",
            about,
            "go-micro's servers are called by the names in their records",
        );
    }
    let look = async {
        // A client of the caller's would watch the whole service for the sake of this one endpoint.
        let connector = context.connector().clone().connect_timeout(limit).service(name);
        let connection = connector.http_version(HttpVersion::Http2).connect(endpoint);
        match Schema::reflect(connection, limit).await {
            Ok(schema) => {
                let own = schema.services().iter().filter(|one| !one.full_name().starts_with("grpc."));
                let methods = own.map(|service| service.methods().count()).sum();
                Finding::ok("reflection", about, format!("says {}", counted(methods, "method")))
            }
            Err(schema::Error::NoReflection(_)) => {
                let hint = "grpc.reflection.v1 there, or --proto FILE with each call";
                Finding::warning("reflection", about, "it does not say what it can be asked", hint)
            }
            Err(error) => {
                let hint = format!("micro describe {}", word(name));
                Finding::warning("reflection", about, chain(&error), hint)
            }
        }
    };
    let hint = "a longer --timeout";
    let late = Finding::warning("reflection", about, format!("no answer within {limit:?}"), hint);
    within(limit, look, late).await
}
