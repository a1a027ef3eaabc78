//! NATS, with and without JetStream, beside async-nats.

use std::sync::Arc;

use async_nats::jetstream::{self, consumer::pull, stream::RetentionPolicy};
use futures_util::{StreamExt, TryStreamExt, stream};
use micro_broker::{JetStream, Nats};
use tokio::sync::Mutex;
use tower::BoxError;

use super::{
    group::{Case, Claim, Group},
    ours::{self, AT_ONCE, BODY, BUFFER},
};

pub(super) async fn groups(url: &str) -> Result<[Group; 2], BoxError> {
    let core = vec![
        raw_core("async-nats, an id in a header", url, "bench.raw.id", true).await?,
        raw_core("async-nats, no headers", url, "bench.raw.plain", false).await?,
        ours::case("ours", Arc::new(Nats::new(url)?), 1 << 20, 1).await?,
    ];
    let kept = vec![
        raw_jetstream(url).await?,
        ours::case("ours: confirm, receive, acknowledge", Arc::new(JetStream::new(url)?), BUFFER, AT_ONCE)
            .await?,
    ];
    Ok([
        Group { name: "nats", cases: core, events: 100_000, claim: Claim::Cpu(1.15) },
        Group { name: "jetstream", cases: kept, events: 10_000, claim: Claim::Cpu(1.15) },
    ])
}

async fn raw_core(name: &'static str, url: &str, subject: &'static str, id: bool) -> Result<Case, BoxError> {
    let client = async_nats::connect(url).await?;
    let subscriber = Arc::new(Mutex::new(client.subscribe(subject).await?));
    client.flush().await?;
    let run = move |events| -> futures_util::future::BoxFuture<'static, Result<(), BoxError>> {
        let (client, subscriber) = (client.clone(), subscriber.clone());
        Box::pin(async move {
            let receiving = tokio::spawn(async move {
                let mut subscriber = subscriber.lock().await;
                for _ in 0..events {
                    subscriber.next().await;
                }
            });
            for number in 0..events {
                if id {
                    let mut headers = async_nats::HeaderMap::new();
                    headers.insert("Nats-Msg-Id", format!("{subject}/{number:032x}"));
                    client.publish_with_headers(subject, headers, BODY).await?;
                } else {
                    client.publish(subject, BODY).await?;
                }
            }
            Ok(receiving.await?)
        })
    };
    Ok(Case { name, run: Box::new(run) })
}

async fn raw_jetstream(url: &str) -> Result<Case, BoxError> {
    const SUBJECT: &str = "raw.kept";
    let context = jetstream::new(async_nats::connect(url).await?);
    let stream = jetstream::stream::Config {
        name: "raw".to_owned(),
        subjects: vec![SUBJECT.to_owned()],
        retention: RetentionPolicy::Interest,
        ..Default::default()
    };
    let config = pull::Config { durable_name: Some("bench".to_owned()), ..Default::default() };
    let consumer = context.create_stream(stream).await?.create_consumer(config).await?;
    let messages = consumer.stream().max_messages_per_batch(AT_ONCE).messages().await?;
    let messages = Arc::new(Mutex::new(messages));
    let run = move |events| -> futures_util::future::BoxFuture<'static, Result<(), BoxError>> {
        let (context, messages) = (context.clone(), messages.clone());
        Box::pin(async move {
            let receiving = tokio::spawn(async move {
                let mut messages = messages.lock().await;
                for _ in 0..events {
                    let Some(message) = messages.next().await.transpose()? else { break };
                    message.ack().await?;
                }
                Ok::<_, BoxError>(())
            });
            let publish = |number: usize| {
                let context = &context;
                async move {
                    let mut headers = async_nats::HeaderMap::new();
                    headers.insert("Nats-Msg-Id", format!("{number:x}{:032x}", fastrand::u128(..)));
                    context.publish_with_headers(SUBJECT, headers, BODY).await?.await.map(drop)
                }
            };
            stream::iter(0..events).map(publish).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
            receiving.await?
        })
    };
    Ok(Case { name: "async-nats: confirm, receive, acknowledge", run: Box::new(run) })
}
