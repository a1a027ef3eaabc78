//! What every backend must show.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use micro_broker::{
    Backoff, Broker, DEAD_ATTEMPTS, DEAD_GROUP, DEAD_REASON, DEAD_TOPIC, Error, Event, Publisher, Reject,
    Subscribe, Subscription, deliver,
};
use tokio::sync::mpsc;
use tower::{BoxError, service_fn};

/// Longer than anything takes on a busy machine; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How a backend is started, and what it promises beyond at most once.
pub(crate) trait Backend {
    type Server;

    /// Starts the server; `None` when its program is missing, which has then been said.
    fn start() -> impl Future<Output = Option<Self::Server>>;

    /// A new connection to the server, as another process would make it.
    fn open(server: &Self::Server) -> Arc<dyn Broker>;

    /// What is published while a group has no member waits for it, and what a dead member held comes back.
    const KEEPS: bool = true;
}

/// The suite as tests of one backend, each with a server of its own; or, where a server takes long to start, as one
/// test on one server.
macro_rules! promises {
    ($backend:ty) => {
        $crate::suite::promises!(@all each $backend);
    };
    ($backend:ty, on one server) => {
        $crate::suite::promises!(@all together $backend);
    };
    (@all $how:ident $backend:ty) => {
        $crate::suite::promises!(@$how $backend:
            order_within_a_publisher_is_kept
            a_group_shares_its_events
            without_a_group_everyone_gets_everything
            a_failed_event_comes_again_with_its_attempts_counted
            what_keeps_failing_ends_among_the_dead_letters_with_the_reason
            a_rejected_event_is_not_tried_again
            a_panic_is_a_failure
            headers_ids_and_bodies_of_any_size_arrive_as_sent
            odd_topics_and_ids_arrive_as_sent_or_are_refused
            what_is_published_stays_as_it_was_and_arrives_as_that
            ten_thousand_events_are_all_handled
            a_graceful_stop_finishes_what_is_in_hand
            a_delivery_dropped_unsettled_comes_again
            a_group_without_members_keeps_its_events
            a_wildcard_covers_many_topics
            nothing_is_lost_whenever_a_future_is_dropped
            an_expired_event_is_put_aside_unseen
            a_forgotten_group_is_gone
            the_longest_of_waits_are_taken
        );
    };
    (@each $backend:ty: $($promise:ident)*) => {
        mod promises {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let Some(server) = <$backend as $crate::suite::Backend>::start().await else { return };
                    $crate::suite::$promise::<$backend>(&server).await;
                }
            )*
        }
    };
    (@together $backend:ty: $($promise:ident)*) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn every_promise_is_kept() {
            let Some(server) = <$backend as $crate::suite::Backend>::start().await else { return };
            $(
                println!("{}", stringify!($promise));
                $crate::suite::$promise::<$backend>(&server).await;
            )*
        }
    };
}
pub(crate) use promises;

/// A topic no other check uses.
fn topic(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}{}x{}.made", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn quick(topic: &str) -> Subscribe {
    Subscribe::to(topic).backoff(Backoff::new(Duration::from_millis(20), Duration::from_millis(50)))
}

fn numbered(topic: &str, number: usize) -> Event {
    Event::new(topic, number.to_string()).id(format!("{topic}-{number}"))
}

fn number(event: &Event) -> usize {
    std::str::from_utf8(&event.body).unwrap().parse().unwrap()
}

/// Publishes, trying again as a patient caller does: the id makes it the same event.
async fn publish(publisher: &Publisher, event: Event) {
    publisher.publish(event).await.unwrap();
}

async fn next(subscription: &mut Subscription) -> micro_broker::Delivery {
    within(subscription.next()).await.expect("a subscription does not end by itself")
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens within a minute")
}

/// Runs a subscription in the background with a handler that reports each event before it answers.
fn watch(subscription: Subscription) -> mpsc::UnboundedReceiver<Event> {
    let (seen, events) = mpsc::unbounded_channel();
    let service = service_fn(move |event: Event| {
        let _ = seen.send(event);
        async { Ok::<_, BoxError>(()) }
    });
    tokio::spawn(deliver(subscription, service).run());
    events
}

pub(crate) async fn order_within_a_publisher_is_kept<B: Backend>(server: &B::Server) {
    let (broker, topic) = (B::open(server), topic("order"));
    let mut events = watch(broker.subscribe(quick(&topic).group("g").in_flight(1)).await.unwrap());
    let publisher = Publisher::new(B::open(server));
    for i in 0..500 {
        publish(&publisher, numbered(&topic, i)).await;
    }
    for i in 0..500 {
        assert_eq!(number(&within(events.recv()).await.unwrap()), i);
    }
}

/// R18 of go-micro: in memory, every member of a group gets every event.
pub(crate) async fn a_group_shares_its_events<B: Backend>(server: &B::Server) {
    let topic = topic("group");
    let (seen, mut events) = mpsc::unbounded_channel();
    let both = Arc::new(tokio::sync::Barrier::new(2));
    for member in 0..2 {
        let subscription = B::open(server).subscribe(quick(&topic).group("g").in_flight(1)).await.unwrap();
        let (seen, both, first) = (seen.clone(), both.clone(), AtomicU32::new(1));
        tokio::spawn(
            deliver(
                subscription,
                service_fn(move |event: Event| {
                    let _ = seen.send((member, number(&event)));
                    let (both, first) = (both.clone(), first.swap(0, Ordering::Relaxed) == 1);
                    async move {
                        if first {
                            // Holds its first event until the other member has one too.
                            both.wait().await;
                        }
                        Ok::<_, BoxError>(())
                    }
                }),
            )
            .run(),
        );
    }
    let publisher = Publisher::new(B::open(server));
    for i in 0..200 {
        publish(&publisher, numbered(&topic, i)).await;
    }
    let mut got = BTreeMap::new();
    while got.len() < 200 {
        let (member, number) = within(events.recv()).await.unwrap();
        assert_eq!(got.insert(number, member), None, "one member gets each event, once");
    }
    assert!(got.values().any(|&member| member == 0) && got.values().any(|&member| member == 1));
}

pub(crate) async fn without_a_group_everyone_gets_everything<B: Backend>(server: &B::Server) {
    let topic = topic("broadcast");
    let mut everyone = Vec::new();
    for _ in 0..3 {
        everyone.push(watch(B::open(server).subscribe(quick(&topic)).await.unwrap()));
    }
    let publisher = Publisher::new(B::open(server));
    for i in 0..100 {
        publish(&publisher, numbered(&topic, i)).await;
    }
    for events in &mut everyone {
        let mut got = Vec::new();
        for _ in 0..100 {
            got.push(number(&within(events.recv()).await.unwrap()));
        }
        got.sort_unstable();
        assert_eq!(got, (0..100).collect::<Vec<_>>());
    }
}

pub(crate) async fn a_failed_event_comes_again_with_its_attempts_counted<B: Backend>(server: &B::Server) {
    let (broker, topic) = (B::open(server), topic("again"));
    let subscription = broker.subscribe(quick(&topic).group("g")).await.unwrap();
    let (seen, mut attempts) = mpsc::unbounded_channel();
    let service = service_fn(move |event: Event| {
        let _ = seen.send(event.attempt);
        async move { if event.attempt < 3 { Err("not yet") } else { Ok(()) } }
    });
    tokio::spawn(deliver(subscription, service).run());
    publish(&Publisher::new(broker), Event::new(topic.as_str(), "x")).await;
    for expected in 1..=3 {
        assert_eq!(within(attempts.recv()).await, Some(expected));
    }
}

pub(crate) async fn what_keeps_failing_ends_among_the_dead_letters_with_the_reason<B: Backend>(
    server: &B::Server,
) {
    let (broker, topic) = (B::open(server), topic("dead"));
    let subscription = broker.subscribe(quick(&topic).group("g").attempts(3).in_flight(1)).await.unwrap();
    let dead_topic = format!("dead.{topic}");
    let mut dead = broker.subscribe(quick(&dead_topic).group(DEAD_GROUP)).await.unwrap();
    let (seen, mut handled) = mpsc::unbounded_channel();
    let service = service_fn(move |event: Event| {
        let poison = number(&event) == 0;
        if !poison {
            let _ = seen.send(number(&event));
        }
        async move { if poison { Err("no such customer: Ärger") } else { Ok(()) } }
    });
    tokio::spawn(deliver(subscription, service).run());
    let publisher = Publisher::new(broker);
    for i in 0..20 {
        publish(&publisher, numbered(&topic, i)).await;
    }
    for i in 1..20 {
        assert_eq!(within(handled.recv()).await, Some(i), "a poisonous event does not hold up the others");
    }
    let letter = next(&mut dead).await;
    let event = letter.event();
    assert_eq!((&*event.topic, event.id.to_string()), (&*dead_topic, format!("{topic}-0")));
    assert_eq!(event.body, "0");
    assert_eq!(event.headers[DEAD_REASON], "no such customer: ?rger");
    assert_eq!(
        (&event.headers[DEAD_ATTEMPTS], &event.headers[DEAD_TOPIC]),
        (&"3".parse().unwrap(), &topic.parse().unwrap())
    );
    within(letter.ack()).await.unwrap();
}

pub(crate) async fn a_rejected_event_is_not_tried_again<B: Backend>(server: &B::Server) {
    let (broker, topic) = (B::open(server), topic("reject"));
    let subscription = broker.subscribe(quick(&topic).group("g")).await.unwrap();
    let mut dead = broker.subscribe(quick(&format!("dead.{topic}")).group(DEAD_GROUP)).await.unwrap();
    let service = service_fn(|_: Event| async { Err::<(), _>(Reject::new("not JSON")) });
    tokio::spawn(deliver(subscription, service).run());
    publish(&Publisher::new(broker), Event::new(topic.as_str(), "x")).await;
    let letter = next(&mut dead).await;
    assert_eq!(letter.event().headers[DEAD_ATTEMPTS], "1");
    assert_eq!(letter.event().headers[DEAD_REASON], "the event can never be handled: not JSON");
    within(letter.ack()).await.unwrap();
}

pub(crate) async fn a_panic_is_a_failure<B: Backend>(server: &B::Server) {
    let (broker, topic) = (B::open(server), topic("panic"));
    let subscription = broker.subscribe(quick(&topic).group("g")).await.unwrap();
    let (seen, mut handled) = mpsc::unbounded_channel();
    let service = service_fn(move |event: Event| {
        assert!(event.attempt > 1, "this first attempt panics when called");
        let seen = seen.clone();
        async move {
            assert!(event.attempt > 2, "this second attempt panics when polled");
            let _ = seen.send(event.attempt);
            Ok::<_, BoxError>(())
        }
    });
    tokio::spawn(deliver(subscription, service).run());
    publish(&Publisher::new(broker), Event::new(topic.as_str(), "x")).await;
    assert_eq!(within(handled.recv()).await, Some(3));
}

pub(crate) async fn headers_ids_and_bodies_of_any_size_arrive_as_sent<B: Backend>(server: &B::Server) {
    let (broker, topic) = (B::open(server), topic("whole"));
    let mut subscription = broker.subscribe(quick(&topic).group("g").in_flight(1)).await.unwrap();
    let publisher = Publisher::new(B::open(server));
    let large: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    for (body, id) in [(Vec::new(), "order-7 of Tuesday"), (large, "a/b.c"), (b"\0\xff\r\n".to_vec(), "3")] {
        let mut sent = Event::new(topic.as_str(), body)
            .id(id)
            .header(micro_broker::REQUEST_ID, "r-1".parse().unwrap())
            .header(
                micro_broker::TRACEPARENT,
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap(),
            )
            .header(http::header::CONTENT_TYPE, "application/octet-stream".parse().unwrap());
        sent.headers.append("x-many", "one, two".parse().unwrap());
        sent.headers.append("x-many", "three".parse().unwrap());
        publish(&publisher, sent.clone()).await;
        let delivery = next(&mut subscription).await;
        let event = delivery.event();
        assert_eq!((&event.topic, &event.id, event.attempt), (&sent.topic, &sent.id, 1));
        assert_eq!(event.headers, sent.headers);
        assert!(event.body == sent.body, "{} bytes", sent.body.len());
        within(delivery.ack()).await.unwrap();
    }
}

pub(crate) async fn odd_topics_and_ids_arrive_as_sent_or_are_refused<B: Backend>(server: &B::Server) {
    let (broker, topic) = (B::open(server), topic("größe&=|\"%"));
    let mut subscription = broker.subscribe(quick(&topic).group("ß")).await.unwrap();
    let publisher = Publisher::new(B::open(server));
    let mut arrived = Vec::new();
    for id in ["ä", "", "a\nb", "a\r\nb: c", " a ", "a\0", "last one"] {
        match publisher.publish(Event::new(topic.as_str(), "").id(id)).await {
            Ok(()) => {
                let delivery = next(&mut subscription).await;
                assert_eq!(
                    (&*delivery.event().topic, delivery.event().id.to_string()),
                    (&*topic, id.to_owned())
                );
                within(delivery.ack()).await.unwrap();
                arrived.push(id);
            }
            Err(error) => assert!(matches!(error, Error::Invalid { .. }), "{id:?}: {error:?}"),
        }
    }
    assert!(arrived.starts_with(&["ä", ""]) && arrived.ends_with(&["last one"]), "{arrived:?}");
}

pub(crate) async fn the_longest_of_waits_are_taken<B: Backend>(server: &B::Server) {
    let (broker, topic) = (B::open(server), topic("long"));
    let subscribe = Subscribe::to(topic.as_str()).group("g").ack_wait(Duration::MAX);
    let mut subscription = broker.subscribe(subscribe).await.unwrap();
    let publisher = Publisher::new(B::open(server)).within(Duration::MAX);
    within(publisher.publish(Event::new(topic.as_str(), "x"))).await.unwrap();
    let delivery = next(&mut subscription).await;
    assert_eq!(delivery.event().body, "x");
    within(delivery.ack()).await.unwrap();
}

/// R27 of go-micro: publishing writes the topic and the content type into the metadata of whoever publishes, so that they
/// go along with all that is sent next.
pub(crate) async fn what_is_published_stays_as_it_was_and_arrives_as_that<B: Backend>(server: &B::Server) {
    let (broker, topics) = (B::open(server), [topic("kept"), topic("kept")]);
    let mut subscriptions = Vec::new();
    for topic in &topics {
        subscriptions.push(broker.subscribe(quick(topic).group("g").in_flight(1)).await.unwrap());
    }
    let publisher = Publisher::new(B::open(server));
    let cause = http::HeaderMap::from_iter([(micro_broker::REQUEST_ID, "r-1".parse().unwrap())]);
    let before = cause.clone();
    let mut event = Event::new(topics[0].as_str(), "made").caused_by(&cause);
    for (topic, subscription) in topics.iter().zip(&mut subscriptions) {
        // One after the other, as a caller may.
        event.topic = topic.as_str().into();
        event = event.id(topic.as_str());
        publish(&publisher, event.clone()).await;
        assert_eq!((&event.headers, &cause), (&before, &before), "nothing was added to what the caller has");
        let delivery = next(subscription).await;
        assert_eq!(&*delivery.event().topic, topic);
        assert_eq!(delivery.event().headers, before, "nor to what arrives");
        within(delivery.ack()).await.unwrap();
    }
}

pub(crate) async fn ten_thousand_events_are_all_handled<B: Backend>(server: &B::Server) {
    let (broker, topic) = (B::open(server), topic("many"));
    let mut events = watch(broker.subscribe(quick(&topic).group("g")).await.unwrap());
    let publisher = Publisher::new(B::open(server));
    let publishing = tokio::spawn(async move {
        let all = futures_util::stream::iter(0..10_000).map(|i| publisher.publish(numbered(&topic, i)));
        all.buffer_unordered(64).for_each(|confirmed| async { confirmed.unwrap() }).await;
    });
    let mut got = BTreeMap::<usize, u32>::new();
    while got.len() < 10_000 {
        *got.entry(number(&within(events.recv()).await.unwrap())).or_default() += 1;
    }
    within(publishing).await.unwrap();
    assert_eq!(got.keys().copied().collect::<Vec<_>>(), (0..10_000).collect::<Vec<_>>());
    assert!(got.values().all(|&times| times == 1), "nothing failed, so nothing comes twice");
}

pub(crate) async fn a_graceful_stop_finishes_what_is_in_hand<B: Backend>(server: &B::Server) {
    let (broker, topic) = (B::open(server), topic("stop"));
    let subscription = broker.subscribe(quick(&topic).group("g").in_flight(3)).await.unwrap();
    let (begun, mut started) = mpsc::unbounded_channel();
    let (finish, finished) = tokio::sync::watch::channel(false);
    let service = service_fn(move |event: Event| {
        let _ = begun.send(number(&event));
        let mut finished = finished.clone();
        async move { finished.wait_for(|&finished| finished).await.map(drop) }
    });
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(deliver(subscription, service).until(async { drop(stopped.await) }).run());
    let publisher = Publisher::new(broker.clone());
    for i in 0..10 {
        publish(&publisher, numbered(&topic, i)).await;
    }
    let mut in_hand = Vec::new();
    for _ in 0..3 {
        in_hand.push(within(started.recv()).await.unwrap());
    }
    stop.send(()).unwrap();
    finish.send(true).unwrap();
    let tally = within(running).await.unwrap().unwrap();
    assert_eq!((tally.handled, tally.again, tally.unheard, tally.cut), (3, 0, 0, 0), "{tally:?}");
    if B::KEEPS {
        let mut rest = watch(broker.subscribe(quick(&topic).group("g")).await.unwrap());
        let mut got = in_hand;
        while got.len() < 10 {
            got.push(number(&within(rest.recv()).await.unwrap()));
        }
        got.sort_unstable();
        assert_eq!(
            got,
            (0..10).collect::<Vec<_>>(),
            "what was acknowledged does not come again, the rest does"
        );
    }
}

pub(crate) async fn a_delivery_dropped_unsettled_comes_again<B: Backend>(server: &B::Server) {
    let (broker, topic) = (B::open(server), topic("dropped"));
    let mut subscription = broker.subscribe(quick(&topic).group("g")).await.unwrap();
    publish(&Publisher::new(broker), Event::new(topic.as_str(), "x")).await;
    drop(next(&mut subscription).await);
    let again = next(&mut subscription).await;
    assert_eq!(again.event().attempt, 2);
    within(again.ack()).await.unwrap();
}

pub(crate) async fn a_group_without_members_keeps_its_events<B: Backend>(server: &B::Server) {
    if !B::KEEPS {
        return;
    }
    let (broker, topic) = (B::open(server), topic("kept"));
    drop(broker.subscribe(quick(&topic).group("g")).await.unwrap());
    let publisher = Publisher::new(B::open(server));
    for i in 0..10 {
        publish(&publisher, numbered(&topic, i)).await;
    }
    let mut late = broker.subscribe(quick(&topic).group("g").in_flight(1)).await.unwrap();
    for i in 0..10 {
        let delivery = next(&mut late).await;
        assert_eq!(number(delivery.event()), i);
        within(delivery.ack()).await.unwrap();
    }
}

pub(crate) async fn a_wildcard_covers_many_topics<B: Backend>(server: &B::Server) {
    let (broker, topic) = (B::open(server), topic("wild"));
    let root = topic.split('.').next().unwrap();
    let mut events =
        watch(broker.subscribe(quick(&format!("{root}.*")).group("g").in_flight(1)).await.unwrap());
    let publisher = Publisher::new(B::open(server));
    for (i, word) in ["made", "sent", "made.twice", "paid"].iter().enumerate() {
        publish(&publisher, numbered(&format!("{root}.{word}"), i)).await;
    }
    for expected in ["made", "sent", "paid"] {
        assert_eq!(*within(events.recv()).await.unwrap().topic, format!("{root}.{expected}"));
    }
}

/// Drops `subscribe`, `next`, handlers and settlements after ever more polls: each await is cut once.
pub(crate) async fn nothing_is_lost_whenever_a_future_is_dropped<B: Backend>(server: &B::Server) {
    if !B::KEEPS {
        return nobody_is_left_whenever_a_future_is_dropped::<B>(server).await;
    }
    let (broker, topic) = (B::open(server), topic("cut"));
    let ask = || quick(&topic).group("g").in_flight(2).attempts(1000);
    drop(within(broker.subscribe(ask())).await.unwrap());
    let publisher = Publisher::new(broker.clone());
    for i in 0..20 {
        publish(&publisher, numbered(&topic, i)).await;
    }
    let handled = Arc::new(Mutex::new(BTreeMap::<usize, u32>::new()));
    for polls in (0..40).chain((40..400).step_by(30)) {
        let run = async {
            let handled = handled.clone();
            let service = service_fn(move |event: Event| {
                let handled = handled.clone();
                async move {
                    tokio::task::yield_now().await;
                    *handled.lock().unwrap().entry(number(&event)).or_default() += 1;
                    Ok::<_, BoxError>(())
                }
            });
            let _ = deliver(broker.subscribe(ask()).await.unwrap(), service).run().await;
        };
        poll_times(run, polls).await;
    }
    let mut rest = watch(broker.subscribe(ask()).await.unwrap());
    while handled.lock().unwrap().len() < 20 {
        let event = within(rest.recv()).await.unwrap();
        *handled.lock().unwrap().entry(number(&event)).or_default() += 1;
    }
}

/// The same where nothing is kept: members that are gone take none of the events of one that lives.
async fn nobody_is_left_whenever_a_future_is_dropped<B: Backend>(server: &B::Server) {
    let (broker, topic) = (B::open(server), topic("cut"));
    let ask = || quick(&topic).group("g").in_flight(2);
    let publisher = Publisher::new(broker.clone());
    for polls in (0..40).chain((40..200).step_by(30)) {
        let run = async {
            let service = service_fn(|_: Event| async { Ok::<_, BoxError>(()) });
            let subscription = broker.subscribe(ask()).await.unwrap();
            publish(&publisher, numbered(&topic, 0)).await;
            let _ = deliver(subscription, service).run().await;
        };
        poll_times(run, polls).await;
    }
    let mut events = watch(broker.subscribe(ask()).await.unwrap());
    let (mut in_a_row, start) = (0, std::time::Instant::now());
    for number in 1.. {
        publish(&publisher, numbered(&topic, number)).await;
        let came = async { while self::number(&events.recv().await.unwrap()) != number {} };
        let came = tokio::time::timeout(Duration::from_secs(2), came).await.is_ok();
        in_a_row = if came { in_a_row + 1 } else { 0 };
        if in_a_row == 20 {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "somebody who is gone still takes events");
    }
}

/// Polls a future at most so many times, then drops it; each poll but the first waits to be asked for, or for 50 ms.
async fn poll_times(future: impl Future<Output = ()>, polls: usize) {
    let (mut future, mut left) = (Box::pin(future), polls);
    let cut = std::future::poll_fn(|cx| {
        if left == 0 {
            return std::task::Poll::Ready(());
        }
        left -= 1;
        future.as_mut().poll(cx)
    });
    let _ = tokio::time::timeout(Duration::from_millis(50), cut).await;
}

pub(crate) async fn an_expired_event_is_put_aside_unseen<B: Backend>(server: &B::Server) {
    let (broker, topic) = (B::open(server), topic("late"));
    let mut events = watch(broker.subscribe(quick(&topic).group("g")).await.unwrap());
    let mut dead = broker.subscribe(quick(&format!("dead.{topic}")).group(DEAD_GROUP)).await.unwrap();
    let publisher = Publisher::new(broker);
    publish(&publisher, numbered(&topic, 1).deadline(std::time::UNIX_EPOCH + Duration::from_secs(1))).await;
    publish(&publisher, numbered(&topic, 2).deadline(std::time::SystemTime::now() + PATIENCE * 60)).await;
    assert_eq!(number(&within(events.recv()).await.unwrap()), 2);
    let letter = next(&mut dead).await;
    assert_eq!(letter.event().headers[DEAD_REASON], "its deadline passed before it was handled");
    within(letter.ack()).await.unwrap();
}

pub(crate) async fn a_forgotten_group_is_gone<B: Backend>(server: &B::Server) {
    let (broker, topic) = (B::open(server), topic("forget"));
    drop(broker.subscribe(quick(&topic).group("g")).await.unwrap());
    let publisher = Publisher::new(broker.clone());
    publish(&publisher, numbered(&topic, 1)).await;
    within(broker.forget(&topic, "g")).await.unwrap();
    within(broker.forget(&topic, "g")).await.unwrap();
    let mut events = watch(broker.subscribe(quick(&topic).group("g")).await.unwrap());
    publish(&publisher, numbered(&topic, 2)).await;
    assert_eq!(number(&within(events.recv()).await.unwrap()), 2, "what waited went with the group");
}
