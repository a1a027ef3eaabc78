//! What a command needs to run: a runtime, and what it works on as the settings say.

use std::sync::Arc;

use micro_tower::transport::Connector;
use tokio::runtime::{Builder, Runtime};

use super::tls::tls;
use crate::command::{Context, Failure, Kind};
use crate::remote::Sidecar;
use crate::settings::Settings;

/// A runtime of so many threads; 0 is one per processor.
pub(super) fn runtime(workers: usize) -> Result<Runtime, Failure> {
    let mut builder = if workers == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    if workers > 1 {
        builder.worker_threads(workers);
    }
    let built = builder.enable_all().build();
    built.map_err(|error| Failure::new(Kind::Other, "cannot start").source(error))
}

/// What commands work on, as the settings say.
pub(super) fn context(settings: &Settings, insecure: bool) -> Result<Context, Failure> {
    let registry = settings.get("registry").unwrap_or("file:");
    let context = match settings.get("proxy") {
        Some(address) => {
            let sidecar = Sidecar::new(address)
                .map_err(|error| Failure::new(Kind::Usage, "--proxy is no address").source(error))?;
            let shared = Arc::new(sidecar.clone());
            let scheme = if address.contains("://") { "" } else { "http://" };
            let context = Context::over(shared.clone(), &format!("{scheme}{address}"));
            let caller = context.caller().clone().through(sidecar);
            context.with_caller(caller).with_broker(shared)
        }
        None => Context::open(registry)?,
    };
    let tls = tls(settings, insecure)?;
    let beyond_http = |name| settings.get(name).filter(|url| !matches!(*url, "http:" | "http"));
    // Endpoints over HTTP say so by their addresses.
    let broker = beyond_http("transport").map(called_at).transpose()?;
    let context = match (&tls, broker) {
        (None, None) => context,
        _ => {
            let mut connector = Connector::new();
            if let Some(tls) = tls {
                connector = connector.tls(tls);
            }
            if let Some(url) = broker {
                connector = connector.broker(url);
            }
            context.with_connector(connector)
        }
    };
    // Subscribers of that one are in a registry: where no other is named, in the one that is in use.
    Ok(match beyond_http("broker") {
        Some(url) => context.broker_url(url),
        None => context,
    })
}

/// `url`, if it names a broker that endpoints are called at.
fn called_at(url: &str) -> Result<&str, Failure> {
    match url.split_once("://") {
        Some(("nats" | "tls" | "amqp" | "amqps" | "rabbitmq", host)) if !host.is_empty() => Ok(url),
        // It may hold a password, and is not repeated.
        _ => Err(Failure::new(Kind::Usage, "--transport (MICRO_TRANSPORT) names no broker").hint(
            "--transport nats://127.0.0.1:4222 or amqp://127.0.0.1:5672; endpoints over HTTP need none",
        )),
    }
}
