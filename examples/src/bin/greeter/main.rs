//! The main job in one command: three replicas as processes of their own, found through the embedded registry,
//! and a client that loses no call while they are killed, slowed down and restarted.
//!
//! ```text
//! cargo run --release -p examples --bin greeter
//! cargo run --release -p examples --bin greeter -- --transport nats
//! ```

mod kinds;
mod load;
mod replica;
mod report;
mod scenario;
mod wire;

use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// Three greeters, a client, and everything that can happen to them.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  greeter\n  greeter --plain --seconds 10\n  greeter --concurrency 64 --rate 2000\n  greeter --transport nats"
)]
struct Arguments {
    /// Prints a line per step and second instead of a live table.
    #[arg(long)]
    plain: bool,
    /// For how long to run, at least 6.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(6..=3600))]
    seconds: u64,
    /// How many calls are under way at once, at most.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    concurrency: u32,
    /// How many calls are begun a second.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// What carries the calls. A broker is started for the run unless one is given.
    #[arg(long, value_enum, default_value_t)]
    transport: wire::Transport,
    /// The broker to use, such as nats://127.0.0.1:4222 or amqp://127.0.0.1:5672. It must need no password.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Serves as one replica, until it is told to stop.
    #[command(hide = true)]
    Replica {
        /// Its name.
        id: String,
        /// Where it listens.
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:0")]
        listen: String,
        /// Ends where standard input does, as it does when whoever started it is killed.
        #[arg(long)]
        attended: bool,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Role::Replica { id, listen, attended }) = arguments.role {
        return replica::serve(&id, &listen, attended).await;
    }
    let (transport, broker) = (arguments.transport, arguments.broker);
    let wire = tokio::task::spawn_blocking(move || wire::Wire::new(transport, broker)).await??;
    let directory =
        tempfile::Builder::new().prefix("greeter").tempdir().context("no directory for the registry")?;
    let registry = format!("file:{}", directory.path().display());
    let load = load::Load::new(&registry)?;
    let report = report::Report::start(load.clone(), arguments.plain);
    let mut replicas = scenario::start(&registry, &wire, &load, &report).await?;
    load.start(arguments.concurrency, arguments.rate);
    let length = Duration::from_secs(arguments.seconds);
    let outcome = scenario::play((&registry, &wire), &mut replicas, &load, &report, length).await;
    // The replicas live until the last call has its answer.
    let totals = load.stop().await;
    drop(replicas);
    report.stop().await;
    outcome?;
    println!("{totals}");
    if totals.failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}
