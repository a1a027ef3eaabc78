//! Subscribes as a member of a group: prints `READY`, then `GOT <id>` for every event it has handled and `DEAD <id>` for
//! every dead letter of the topic. What comes twice, because a broker died before it heard of the first time, is handled
//! once. An event whose id holds `poison` fails every time. Ctrl-C stops it gracefully.
//!
//! ```text
//! cargo run -p examples --bin sub -- nats://127.0.0.1:4222 orders.created billing [milliseconds an event takes]
//! ```

use std::time::Duration;

use micro_broker::{Backoff, DEAD_GROUP, DEAD_PREFIX, DedupLayer, Event, Subscribe, deliver};
use tower::{ServiceBuilder, service_fn};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(url), Some(topic), Some(group)) = (args.next(), args.next(), args.next()) else {
        anyhow::bail!("usage: sub URL TOPIC GROUP [MILLISECONDS]")
    };
    let takes = Duration::from_millis(args.next().map_or(Ok(0), |takes| takes.parse())?);

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
            println!("GOT {id}");
            Ok(())
        },
    );
    let bury = service_fn(|letter: Event| async move {
        println!("DEAD {}", letter.id);
        Ok::<_, std::convert::Infallible>(())
    });
    println!("READY");
    let stop = || async { drop(tokio::signal::ctrl_c().await) };
    let (handled, buried) =
        tokio::join!(deliver(events, handle).until(stop()), deliver(letters, bury).until(stop()));
    handled.and(buried).map_err(|error| anyhow::anyhow!(error))?;
    broker.close().await;
    Ok(())
}
