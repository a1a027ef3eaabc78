//! What the adapters cost over the raw clients: CPU time of this process for each event published and received, raw and
//! adapter in turns within one run. Only the ratios mean something.
//!
//! ```text
//! overhead nats://127.0.0.1:4222 amqp://guest:guest@127.0.0.1:5672/%2f
//! ```

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties, ExchangeKind};
use micro_broker::{Broker, Event, Memory, Nats, Publisher, RabbitMq, Subscribe};

const ROUNDS: usize = 7;
const BODY: Bytes = Bytes::from_static(&[7; 128]);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    compare(
        "tokio broadcast",
        || broadcast(500_000),
        "memory",
        || adapter(Arc::new(Memory::new()), 500_000, 1),
    )
    .await?;
    if let Some(url) = args.next() {
        let (raw, ours) = (url.clone(), url);
        let ours = || async { adapter(Arc::new(Nats::new(&ours)?), 100_000, 1).await };
        compare("async-nats with an id header", || raw_nats(raw.clone(), 100_000, true), "nats core", &ours)
            .await?;
        compare("async-nats without headers", || raw_nats(raw.clone(), 100_000, false), "nats core", &ours)
            .await?;
    }
    if let Some(url) = args.next() {
        let ours = || async { adapter(Arc::new(RabbitMq::new(&url)?), 5_000, 64).await };
        compare("lapin, confirms and acks", || raw_lapin(url.clone(), 5_000), "rabbitmq", ours).await?;
    }
    Ok(())
}

/// Microseconds of CPU and of wall time for each event: of the raw client, and of the adapter.
type Round = ((f64, f64), (f64, f64));

/// Runs both in turns; prints the median of each and of the ratio within a round.
async fn compare<A, B>(raw: &str, a: impl Fn() -> A, ours: &str, b: impl Fn() -> B) -> anyhow::Result<()>
where
    A: Future<Output = anyhow::Result<usize>>,
    B: Future<Output = anyhow::Result<usize>>,
{
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push((measure(a()).await?, measure(b()).await?));
    }
    let median = |of: &dyn Fn(&Round) -> f64| {
        let mut values: Vec<_> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[ROUNDS / 2]
    };
    println!(
        "{ours} / {raw}: CPU {:.2} / {:.2} us an event, ratio {:.2}; wall {:.2} / {:.2} us, rate {:.2}x",
        median(&|(_, ours)| ours.0),
        median(&|(raw, _)| raw.0),
        median(&|(raw, ours)| ours.0 / raw.0),
        median(&|(_, ours)| ours.1),
        median(&|(raw, _)| raw.1),
        median(&|(raw, ours)| raw.1 / ours.1),
    );
    Ok(())
}

/// Microseconds of CPU and of wall time for each event.
async fn measure(run: impl Future<Output = anyhow::Result<usize>>) -> anyhow::Result<(f64, f64)> {
    let (cpu, wall) = (cpu_time()?, Instant::now());
    let events = run.await? as f64;
    let (cpu, wall) = (cpu_time()? - cpu, wall.elapsed());
    Ok((cpu.as_secs_f64() * 1e6 / events, wall.as_secs_f64() * 1e6 / events))
}

/// User and system time of this process, in the kernel's ticks of 10 ms.
fn cpu_time() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        after_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

async fn adapter(broker: Arc<dyn Broker>, events: usize, pipelined: usize) -> anyhow::Result<usize> {
    let subscribe = Subscribe::to("bench.overhead").buffer(events).in_flight(64);
    let mut subscription = broker.subscribe(subscribe).await?;
    let receiving = tokio::spawn(async move {
        for _ in 0..events {
            let Some(delivery) = subscription.next().await else { break };
            delivery.ack().await?;
        }
        anyhow::Ok(())
    });
    let (publisher, topic) =
        (Publisher::new(broker).within(Duration::from_secs(60)), Arc::<str>::from("bench.overhead"));
    if pipelined > 1 {
        let all = stream::iter(0..events).map(|_| publisher.publish(Event::new(topic.clone(), BODY)));
        all.buffer_unordered(pipelined).try_collect::<Vec<_>>().await?;
    } else {
        for _ in 0..events {
            publisher.publish(Event::new(topic.clone(), BODY)).await?;
        }
    }
    receiving.await??;
    Ok(events)
}

async fn broadcast(events: usize) -> anyhow::Result<usize> {
    let (sender, mut receiver) = tokio::sync::broadcast::channel(events);
    let receiving = tokio::spawn(async move {
        for _ in 0..events {
            receiver.recv().await?;
        }
        anyhow::Ok(())
    });
    for _ in 0..events {
        sender.send(BODY)?;
    }
    receiving.await??;
    Ok(events)
}

async fn raw_nats(url: String, events: usize, id: bool) -> anyhow::Result<usize> {
    let client = async_nats::connect(url).await?;
    let mut subscriber = client.subscribe("bench.raw").await?;
    client.flush().await?;
    let receiving = tokio::spawn(async move {
        for _ in 0..events {
            subscriber.next().await;
        }
    });
    for number in 0..events {
        if id {
            let mut headers = async_nats::HeaderMap::new();
            headers.insert("Nats-Msg-Id", format!("bench.raw/{number:032x}"));
            client.publish_with_headers("bench.raw", headers, BODY).await?;
        } else {
            client.publish("bench.raw", BODY).await?;
        }
    }
    receiving.await?;
    Ok(events)
}

async fn raw_lapin(url: String, events: usize) -> anyhow::Result<usize> {
    let (one, two) =
        (Connection::connect(&url, ConnectionProperties::default()).await?, ConnectionProperties::default());
    let two = Connection::connect(&url, two).await?;
    let (publishing, consuming) = (one.create_channel().await?, two.create_channel().await?);
    publishing.confirm_select(ConfirmSelectOptions::default()).await?;
    consuming.basic_qos(96, BasicQosOptions::default()).await?;
    let (durable, mut expires) =
        (QueueDeclareOptions { durable: true, ..Default::default() }, FieldTable::default());
    expires.insert("x-expires".into(), AMQPValue::LongInt(60_000));
    consuming.queue_declare("bench.raw".into(), durable, expires).await?;
    let bind = QueueBindOptions::default();
    let (topic, durable) =
        (ExchangeKind::Topic, ExchangeDeclareOptions { durable: true, ..Default::default() });
    consuming.exchange_declare("micro.events".into(), topic, durable, FieldTable::default()).await?;
    consuming
        .queue_bind(
            "bench.raw".into(),
            "micro.events".into(),
            "bench.raw".into(),
            bind,
            FieldTable::default(),
        )
        .await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut consumer = consuming.basic_consume("bench.raw".into(), "".into(), options, arguments).await?;
    let receiving = tokio::spawn(async move {
        for _ in 0..events {
            let Some(delivery) = consumer.next().await.transpose()? else { break };
            delivery.acker.ack(BasicAckOptions::default()).await?;
        }
        anyhow::Ok(())
    });
    let publish = |number: usize| {
        let publishing = &publishing;
        async move {
            let id = format!("{number:032x}");
            let properties = BasicProperties::default().with_delivery_mode(2).with_message_id(id.into());
            let options = BasicPublishOptions::default();
            publishing
                .basic_publish("micro.events".into(), "bench.raw".into(), options, &BODY, properties)
                .await?
                .await
        }
    };
    stream::iter(0..events).map(publish).buffer_unordered(64).try_collect::<Vec<_>>().await?;
    receiving.await??;
    Ok(events)
}
