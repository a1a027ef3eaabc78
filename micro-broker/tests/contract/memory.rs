//! The promises of [`Memory`].

use std::sync::Arc;
use std::time::Duration;

use micro_broker::{Broker, Error, Event, Memory, Publisher, Subscribe, deliver};
use tower::{BoxError, service_fn};

use crate::suite::{self, Backend};

struct InProcess;

impl Backend for InProcess {
    type Server = Memory;

    async fn start() -> Option<Memory> {
        Some(Memory::new())
    }

    fn open(server: &Memory) -> Arc<dyn Broker> {
        Arc::new(server.clone())
    }
}

suite::promises!(super::InProcess);

#[tokio::test(start_paused = true)]
async fn a_full_queue_holds_the_publisher_back_and_then_says_which() {
    let broker = Memory::new();
    let slow = broker.subscribe(Subscribe::to("t").group("slow").buffer(2)).await.unwrap();
    let publisher = Publisher::new(Arc::new(broker)).within(Duration::from_secs(1));
    for _ in 0..2 {
        publisher.publish(Event::new("t", "x")).await.unwrap();
    }
    let refused = publisher.publish(Event::new("t", "x")).await.unwrap_err();
    assert!(matches!(&refused, Error::Full { queue, .. } if queue.contains("slow")), "{refused}");

    let waiting = tokio::spawn(publisher.publish(Event::new("t", "y")));
    tokio::task::yield_now().await;
    drop(slow);
    assert!(waiting.await.unwrap().is_err(), "the group outlives its members, so the queue is still full");
}

#[tokio::test(start_paused = true)]
async fn a_publisher_faster_than_its_consumer_for_a_minute_holds_a_bounded_number_of_events() {
    let broker = Memory::new();
    let slow = broker.subscribe(Subscribe::to("t").group("slow").buffer(100).in_flight(1)).await.unwrap();
    let service = service_fn(|_: Event| async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok::<_, BoxError>(())
    });
    let handled =
        tokio::spawn(deliver(slow, service).until(tokio::time::sleep(Duration::from_secs(61))).run());
    let publisher = Publisher::new(Arc::new(broker)).within(Duration::from_secs(1));
    let mut published = 0;
    let start = tokio::time::Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        publisher.publish(Event::new("t", "x")).await.unwrap();
        published += 1;
    }
    let handled = handled.await.unwrap().unwrap().handled;
    // What the publisher is ahead by never exceeds the buffer, and it was never refused.
    assert!(published >= 5_900 && published - handled <= 100, "published {published}, handled {handled}");
}
