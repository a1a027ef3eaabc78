//! Publishes one event per line of standard input, whose id the line is, and prints `ACK <id>` once the broker has it.
//!
//! ```text
//! seq 1000 | cargo run -p examples --bin pub -- nats://127.0.0.1:4222 orders.created
//! ```

use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use micro_broker::{Event, Publisher};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio_stream::wrappers::LinesStream;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(url), Some(topic)) = (args.next(), args.next()) else { anyhow::bail!("usage: pub URL TOPIC") };
    let broker = micro_broker::open(&url)?;
    let publisher = Publisher::new(broker.clone());
    let ids = LinesStream::new(BufReader::new(stdin()).lines());
    let acks = ids.map(|id| publish(&publisher, &topic, id)).buffered(64);
    let mut acks = std::pin::pin!(acks);
    while let Some(id) = acks.next().await {
        println!("ACK {}", id?);
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
