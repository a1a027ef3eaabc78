//! Subscribes as a member of a group: prints `READY`, then `GOT <id>` for every event it has handled and `DEAD <id>` for
//! every dead letter of the topic. What comes twice, because a broker died before it heard of the first time, is handled
//! once. An event whose id holds `poison` fails every time. SIGTERM and Ctrl-C let it finish what it has begun.
//!
//! ```text
//! cargo run -p examples --bin sub -- nats://127.0.0.1:4222 orders.created billing [milliseconds an event takes]
//! ```

use std::fmt::Arguments as Text;
use std::io::{ErrorKind, Write};
use std::time::Duration;

use clap::{Parser, builder::NonEmptyStringValueParser};
use futures_util::FutureExt;
use micro_broker::{Backoff, DEAD_GROUP, DEAD_PREFIX, DedupLayer, Event, Subscribe, deliver};
use tokio::signal::unix::{SignalKind, signal};
use tower::{ServiceBuilder, service_fn};

/// Prints `READY`, then `GOT <id>` for every event that is handled, and `DEAD <id>` for every dead letter of the topic.
///
/// An event whose id holds `poison` fails every time. SIGTERM and Ctrl-C let what has begun finish.
#[derive(Debug, Parser)]
struct Arguments {
    /// The broker, such as nats://127.0.0.1:4222, amqp://127.0.0.1:5672 or http:, which needs no server.
    url: String,
    /// The topic, such as orders.created or orders.*.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    topic: String,
    /// The group: each event goes to one of its members.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    group: String,
    /// For how many milliseconds an event is handled.
    #[arg(default_value_t = 0)]
    milliseconds: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { url, topic, group, milliseconds } = Arguments::parse();
    let takes = Duration::from_millis(milliseconds);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    .shared();

    let broker = micro_broker::open(&url)?;
    let letters = broker.subscribe(Subscribe::to(format!("{DEAD_PREFIX}{topic}")).group(DEAD_GROUP)).await?;
    let quick = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
    let subscribe =
        Subscribe::to(topic).group(group).attempts(3).backoff(quick).ack_wait(Duration::from_secs(2));
    let events = broker.subscribe(subscribe.in_flight(16)).await?;

    let once = DedupLayer::new(100_000);
    let handle = ServiceBuilder::new().layer(once).timeout(Duration::from_secs(30)).service_fn(
        move |event: Event| async move {
            tokio::time::sleep(takes).await;
            let id = event.id.to_string();
            anyhow::ensure!(!id.contains("poison"), "{id} cannot be handled");
            say(format_args!("GOT {id}"))?;
            Ok(())
        },
    );
    let bury = service_fn(|letter: Event| async move { say(format_args!("DEAD {}", letter.id)) });
    say(format_args!("READY"))?;
    let (handled, buried) =
        tokio::join!(deliver(events, handle).until(stop.clone()), deliver(letters, bury).until(stop));
    handled.and(buried).map_err(|error| anyhow::anyhow!(error))?;
    broker.close().await;
    Ok(())
}

/// Writes a line. Where nobody reads any more, the program ends: others of the group handle what it had in hand.
fn say(line: Text<'_>) -> std::io::Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        written => written,
    }
}
