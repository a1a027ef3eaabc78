//! Announces an address for as long as it runs: until SIGTERM or Ctrl-C, then it is withdrawn.
//!
//! ```text
//! cargo run -p examples --bin register -- etcd://127.0.0.1:2379 greeter 127.0.0.1:50051
//! ```

use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use micro_discover::{Address, Announce, Endpoint, Service, open};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Announces an endpoint of a service until it is told to stop.
#[derive(Debug, Parser)]
struct Arguments {
    /// The registry, such as etcd://127.0.0.1:2379.
    url: String,
    /// The service's name.
    service: String,
    /// Where it listens, such as 127.0.0.1:50051.
    address: Address,
    /// The endpoint's id: made from the address when nothing is said.
    #[arg(long)]
    id: Option<String>,
    /// For how many seconds others believe in it once it is silent.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    ttl: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    examples::log();
    let arguments = Arguments::parse();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let id = arguments.id.unwrap_or_else(|| arguments.address.to_string().replace('/', "-"));
    let record = Service::new(arguments.service).endpoint(Endpoint::new(id, arguments.address));
    let announce = Announce::new(open(&arguments.url)?, record).ttl(Duration::from_secs(arguments.ttl));
    // A registry that is not there yet stops nobody: it is told as soon as it is.
    let announcement = tokio::select! {
        started = announce.start() => started.context("nothing is announced")?,
        () = told_to_stop(&mut terminate, &mut interrupt) => return Ok(()),
    };
    told_to_stop(&mut terminate, &mut interrupt).await;
    if let Err(error) = announcement.withdraw().await {
        eprintln!("not withdrawn, others forget it when {} s have passed: {error}", arguments.ttl);
    }
    Ok(())
}

async fn told_to_stop(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
