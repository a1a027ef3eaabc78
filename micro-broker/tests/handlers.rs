//! What stands between a subscription and a handler: codecs and deduplication.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use micro_broker::{
    DEAD_GROUP, DEAD_REASON, DecodeLayer, DedupLayer, Event, Json, Memory, Publisher, Subscribe, Typed,
    deliver,
};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Order {
    apples: u32,
}

#[tokio::test]
async fn a_typed_event_reaches_its_handler_and_what_is_none_is_put_aside_at_once() {
    let broker: Arc<dyn micro_broker::Broker> = Arc::new(Memory::new());
    let orders = broker.subscribe(Subscribe::to("orders").group("g")).await.unwrap();
    let mut dead = broker.subscribe(Subscribe::to("dead.orders").group(DEAD_GROUP)).await.unwrap();
    let (seen, mut handled) = tokio::sync::mpsc::unbounded_channel();
    let handler = service_fn(move |order: Typed<Order>| {
        let _ = seen.send(order);
        async { Ok::<_, BoxError>(()) }
    });
    tokio::spawn(deliver(orders, DecodeLayer::<Json, Order>::new().layer(handler)).run());
    let publisher = Publisher::new(broker);
    publisher.publish(Event::new("orders", "seven apples")).await.unwrap();
    publisher.publish(Event::encode::<Json, _>("orders", &Order { apples: 7 }).unwrap()).await.unwrap();
    let order = handled.recv().await.unwrap();
    assert_eq!(
        (order.value, &order.event.headers["content-type"]),
        (Order { apples: 7 }, &"application/json".parse().unwrap())
    );
    let letter = dead.next().await.unwrap();
    assert_eq!(
        (&letter.event().body[..], letter.event().headers["micro-dead-attempts"].as_bytes()),
        (&b"seven apples"[..], &b"1"[..])
    );
    assert!(letter.event().headers[DEAD_REASON].to_str().unwrap().contains("expected value"));
    letter.ack().await.unwrap();
}

#[cfg(feature = "protobuf")]
#[test]
fn a_protobuf_message_survives_its_body() {
    use micro_broker::{Codec, Protobuf};
    let event = Event::encode::<Protobuf, String>("t", &"apples".to_owned()).unwrap();
    assert_eq!(event.headers["content-type"], <Protobuf as Codec<String>>::CONTENT_TYPE);
    assert_eq!(event.decode::<Protobuf, String>().unwrap(), "apples");
    assert!(Event::new("t", vec![0xff]).decode::<Protobuf, String>().is_err());
}

#[tokio::test]
async fn an_event_is_handled_once_however_often_it_is_delivered() {
    let times = Arc::new(AtomicU32::new(0));
    let count = times.clone();
    let mut service = DedupLayer::new(2).layer(service_fn(move |event: Event| {
        let count = count.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            count.fetch_add(1, Ordering::Relaxed);
            if event.body == "bad" { Err("bad") } else { Ok(()) }
        }
    }));
    let mut handle =
        async |id: &str, body: &'static str| service.ready().await?.call(Event::new("t", body).id(id)).await;
    assert_eq!(handle("1", "x").await.unwrap(), Some(()));
    assert_eq!(handle("1", "x").await.unwrap(), None);
    assert!(handle("2", "bad").await.is_err());
    assert_eq!(handle("2", "x").await.unwrap(), Some(()), "what failed was not handled");
    assert_eq!(handle("3", "x").await.unwrap(), Some(()));
    assert_eq!(handle("1", "x").await.unwrap(), Some(()), "two ids are remembered");
    assert_eq!(times.load(Ordering::Relaxed), 5);
    assert_eq!(handle("", "x").await.unwrap(), Some(()));
    assert_eq!(handle("", "x").await.unwrap(), Some(()), "without a name it may be any");

    let mut at_once = |body: &'static str| service.call(Event::new("t", body).id("4"));
    let (first, second) = tokio::join!(at_once("bad"), at_once("x"));
    assert!(first.is_err());
    assert!(second.unwrap_err().is::<micro_broker::Unfinished>(), "the one it waited for failed");
    let (first, second) = tokio::join!(at_once("x"), at_once("x"));
    assert_eq!((first.unwrap(), second.unwrap()), (Some(()), None), "it waited for the other");
}
