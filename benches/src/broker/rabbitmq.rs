//! RabbitMQ beside lapin: durable queue, persistent messages, confirms and acknowledgements.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    },
    types::FieldTable,
};
use micro_broker::RabbitMq;
use tokio::sync::Mutex;
use tower::BoxError;

use super::{
    group::{Case, Claim, Group},
    ours::{self, AT_ONCE, BODY, BUFFER},
};

const EXCHANGE: &str = "raw";
const QUEUE: &str = "bench.raw";

pub(super) async fn group(url: &str) -> Result<Group, BoxError> {
    let cases = vec![
        raw(url).await?,
        ours::case("ours: confirm, receive, acknowledge", Arc::new(RabbitMq::new(url)?), BUFFER, AT_ONCE)
            .await?,
    ];
    Ok(Group { name: "rabbitmq", cases, events: 20_000, claim: Claim::Cpu(1.05) })
}

async fn raw(url: &str) -> Result<Case, BoxError> {
    let connect = || Connection::connect(url, ConnectionProperties::default());
    let connections = Arc::new((connect().await?, connect().await?));
    let publishing = Arc::new(connections.0.create_channel().await?);
    publishing.confirm_select(ConfirmSelectOptions::default()).await?;
    let consumer = Arc::new(Mutex::new(consume(&connections.1.create_channel().await?).await?));
    let run = move |events| -> futures_util::future::BoxFuture<'static, Result<(), BoxError>> {
        // A connection closes with its last handle.
        let (connections, publishing, consumer) = (connections.clone(), publishing.clone(), consumer.clone());
        Box::pin(async move {
            let _open = connections;
            let receiving = tokio::spawn(async move {
                let mut consumer = consumer.lock().await;
                for _ in 0..events {
                    let Some(delivery) = consumer.next().await.transpose()? else { break };
                    delivery.acker.ack(BasicAckOptions::default()).await?;
                }
                Ok::<_, BoxError>(())
            });
            let publish = |number| publish(&publishing, number);
            stream::iter(0..events).map(publish).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
            receiving.await?
        })
    };
    Ok(Case { name: "lapin: confirm, receive, acknowledge", run: Box::new(run) })
}

async fn consume(channel: &Channel) -> lapin::Result<Consumer> {
    // As many as our subscription asks for: 64 in hand, 32 that wait out a back-off.
    channel.basic_qos(96, BasicQosOptions::default()).await?;
    let table = FieldTable::default;
    let exchange = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, exchange, table()).await?;
    let queue = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(QUEUE.into(), queue, table()).await?;
    let bind = QueueBindOptions::default();
    channel.queue_bind(QUEUE.into(), EXCHANGE.into(), QUEUE.into(), bind, table()).await?;
    channel.basic_consume(QUEUE.into(), "".into(), BasicConsumeOptions::default(), table()).await
}

async fn publish(channel: &Channel, number: usize) -> lapin::Result<()> {
    let properties =
        BasicProperties::default().with_delivery_mode(2).with_message_id(format!("{number:032x}").into());
    let options = BasicPublishOptions::default();
    channel.basic_publish(EXCHANGE.into(), QUEUE.into(), options, &BODY, properties).await?.await.map(drop)
}
