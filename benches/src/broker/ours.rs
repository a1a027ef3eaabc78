//! Our side of every comparison: a publisher and a subscription, whatever the broker.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use micro_broker::{Broker, Event, Publisher, Subscribe};
use tokio::sync::Mutex;
use tower::BoxError;

use super::group::Case;

/// How many events are in hand, and on their way to be confirmed, where there are confirmations.
pub(super) const AT_ONCE: usize = 64;

/// How many events wait for their subscriber where the broker holds its publishers back, as is usual.
pub(super) const BUFFER: usize = 65_536;

/// The body of every event.
pub(super) const BODY: Bytes = Bytes::from_static(&[7; 128]);

/// Publishes to a buffer of this many events, `pipelined` at a time, and acknowledges what is received.
pub(super) async fn case(
    name: &'static str,
    broker: Arc<dyn Broker>,
    buffer: usize,
    pipelined: usize,
) -> Result<Case, BoxError> {
    // Of this broker alone: NATS brings to its subscribers what is published for JetStream.
    let topic: Arc<str> = format!("{}.ours", broker.backend()).into();
    let subscribe = Subscribe::to(topic.clone()).group("bench").in_flight(AT_ONCE).buffer(buffer);
    let subscription = Arc::new(Mutex::new(broker.subscribe(subscribe).await?));
    let publisher = Publisher::new(broker).within(std::time::Duration::from_secs(60));
    let run = move |events| -> futures_util::future::BoxFuture<'static, Result<(), BoxError>> {
        let (subscription, publisher, topic) = (subscription.clone(), publisher.clone(), topic.clone());
        Box::pin(async move {
            let receiving = tokio::spawn(async move {
                let mut subscription = subscription.lock().await;
                for _ in 0..events {
                    let Some(delivery) = subscription.next().await else { break };
                    delivery.ack().await?;
                }
                Ok::<_, BoxError>(())
            });
            if pipelined > 1 {
                let all = stream::iter(0..events).map(|_| publisher.publish(Event::new(topic.clone(), BODY)));
                all.buffer_unordered(pipelined).try_collect::<()>().await?;
            } else {
                for _ in 0..events {
                    publisher.publish(Event::new(topic.clone(), BODY)).await?;
                }
            }
            receiving.await?
        })
    };
    Ok(Case { name, run: Box::new(run) })
}
