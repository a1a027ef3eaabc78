//! Publishes one event per line of standard input, whose id the line is, and prints `ACK <id>` once the broker has it.
//!
//! ```text
//! seq 1000 | cargo run -p examples --bin pub -- nats://127.0.0.1:4222 orders.created
//! ```

use std::io::{ErrorKind, Write};
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, builder::NonEmptyStringValueParser};
use futures_util::StreamExt;
use micro_broker::{Event, Publisher};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio_stream::wrappers::LinesStream;

/// Publishes one event per line of standard input, whose id the line is, and prints `ACK <id>` once the broker has it.
///
/// A broker that is not there is tried again until it is.
#[derive(Debug, Parser)]
struct Arguments {
    /// The broker, such as nats://127.0.0.1:4222, amqp://127.0.0.1:5672 or http:, which needs no server.
    url: String,
    /// The topic, such as orders.created.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    topic: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { url, topic } = Arguments::parse();
    let broker = micro_broker::open(&url)?;
    let publisher = Publisher::new(broker.clone());
    let ids = LinesStream::new(BufReader::new(stdin()).lines());
    let acks = ids.map(|id| publish(&publisher, &topic, id)).buffered(64);
    let mut acks = std::pin::pin!(acks);
    while let Some(id) = acks.next().await {
        match writeln!(std::io::stdout(), "ACK {}", id?) {
            // Whoever read has gone.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            written => written?,
        }
    }
    // Without a server, what was published still waits in this process.
    broker.close().await;
    Ok(())
}

/// Publishes until the broker has the event: the same id makes it the same event.
async fn publish(publisher: &Publisher, topic: &str, id: std::io::Result<String>) -> anyhow::Result<String> {
    let id = id.context("standard input")?;
    loop {
        let event = Event::new(topic, id.clone()).id(id.as_str());
        match publisher.publish(event).await {
            Ok(()) => return Ok(id),
            Err(error) if error.is_retryable() => {
                eprintln!("{:#}; trying again", anyhow::Error::from(error));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
