//! An order service publishes orders; two workers share one queue, so each order is shipped once.
//!
//! ```text
//! cargo run -p examples --bin orders -- memory:
//! cargo run -p examples --bin orders -- amqp://guest:guest@127.0.0.1:5672/%2f
//! ```

use anyhow::anyhow;
use clap::Parser;
use micro_broker::{DecodeLayer, Event, Json, Publisher, Subscribe, Typed, deliver};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

/// Publishes ten orders, which two workers ship.
#[derive(Debug, Parser)]
struct Arguments {
    /// The broker, such as nats://127.0.0.1:4222.
    #[arg(default_value = "memory:")]
    url: String,
}

#[derive(Serialize, Deserialize)]
struct Order {
    number: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { url } = Arguments::parse();
    let broker = micro_broker::open(&url)?;
    let (stop, stopped) = watch::channel(false);
    let (shipped, mut shipments) = mpsc::channel(16);

    let mut workers = Vec::new();
    for worker in ["Anna", "Ben"] {
        let orders = broker.subscribe(Subscribe::to("orders.placed").group("shipping").in_flight(1)).await?;
        let (shipped, mut stopped) = (shipped.clone(), stopped.clone());
        let ship = ServiceBuilder::new().layer(DecodeLayer::<Json, Order>::new()).service(service_fn(
            move |order: Typed<Order>| {
                let shipped = shipped.clone();
                async move { shipped.send((worker, order.value.number)).await.map_err(BoxError::from) }
            },
        ));
        let until = async move { drop(stopped.wait_for(|stop| *stop).await) };
        workers.push(tokio::spawn(deliver(orders, ship).until(until).run()));
    }

    let publisher = Publisher::new(broker);
    for number in 1..=10 {
        let order =
            Event::encode::<Json, _>("orders.placed", &Order { number }).map_err(|error| anyhow!(error))?;
        publisher.clone().oneshot(order).await?;
    }
    for _ in 1..=10 {
        let (worker, number) = shipments.recv().await.ok_or_else(|| anyhow!("the workers are gone"))?;
        println!("{worker} shipped order {number}");
    }
    stop.send_replace(true);
    for worker in workers {
        worker.await?.map_err(|error| anyhow!(error))?;
    }
    Ok(())
}
