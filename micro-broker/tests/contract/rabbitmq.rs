//! The promises of [`RabbitMq`](micro_broker::RabbitMq).

use std::sync::Arc;

use micro_broker::Broker;

use crate::server::{RabbitServer, Server};
use crate::suite::Backend;

struct Durable;

impl Backend for Durable {
    type Server = RabbitServer;

    async fn start() -> Option<RabbitServer> {
        RabbitServer::start()
    }

    fn open(server: &RabbitServer) -> Arc<dyn Broker> {
        micro_broker::open(&server.url()).unwrap()
    }
}

mod durable {
    crate::suite::promises!(super::Durable, on one server);
}

struct Quorum;

impl Backend for Quorum {
    type Server = RabbitServer;

    async fn start() -> Option<RabbitServer> {
        RabbitServer::start()
    }

    fn open(server: &RabbitServer) -> Arc<dyn Broker> {
        micro_broker::open(&format!("{}?quorum", server.url())).unwrap()
    }
}

mod quorum {
    crate::suite::promises!(super::Quorum, on one server);
}

mod kept_whatever_fails {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use futures_util::StreamExt;
    use http::header::{HeaderName, HeaderValue};
    use micro_broker::{Broker, Error, Event, RabbitMq, Subscribe};
    use tokio::time::timeout;

    use crate::faults;
    use crate::proxy::Proxy;
    use crate::server::{RabbitServer, Server, publish_raw};
    use crate::suite::PATIENCE;

    /// One server for all, because it takes ten seconds to start.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_confirmed_event_is_handled() {
        let Some(mut server) = RabbitServer::start() else { return };
        faults::a_poisonous_event_is_put_aside_and_holds_nobody_up(&server).await;
        faults::what_a_killed_consumer_held_goes_to_another(&server).await;
        faults::what_a_frozen_consumer_holds_goes_to_another(&server).await;
        faults::a_publisher_far_ahead_does_not_fill_its_consumer(&server).await;
        faults::a_faster_publisher_does_not_fill_its_consumer(&server.url(), Duration::from_secs(6)).await;
        a_server_that_takes_nothing_does_not_fill_its_publisher(&server).await;
        what_no_client_reads_is_handled_like_any_other(&server).await;
        names_too_long_for_amqp_are_refused(&server).await;
        faults::a_frozen_broker_loses_nothing(&server).await;
        faults::a_cut_connection_loses_nothing(&server).await;
        faults::a_killed_and_restarted_broker_loses_nothing(&mut server).await;
        faults::what_a_dead_broker_did_not_confirm_is_not_reported_published(&mut server).await;
    }

    /// lapin panics at a name of more than 255 bytes.
    async fn names_too_long_for_amqp_are_refused(server: &RabbitServer) {
        let broker = RabbitMq::new(&server.url()).unwrap();
        let refused = |error: Error| assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        let (longest, longer) = ("t".repeat(245), "t".repeat(246));
        for subscribe in [Subscribe::to(&*longer), Subscribe::to("t").group("g".repeat(254))] {
            refused(broker.subscribe(subscribe).await.unwrap_err());
        }
        refused(broker.forget("t", &"g".repeat(254)).await.unwrap_err());
        let name = |length: usize| HeaderName::try_from("h".repeat(length)).unwrap();
        let value = HeaderValue::from_static("v");
        let event = Event::new(&*longest, "x");
        refused(broker.publish(event.clone().header(name(256), value.clone()), PATIENCE).await.unwrap_err());
        let mut events = broker.subscribe(Subscribe::to(&*longest)).await.unwrap();
        broker.publish(event.header(name(255), value), PATIENCE).await.unwrap();
        let delivery = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
        assert_eq!(delivery.event().headers[name(255)], "v");
        delivery.ack().await.unwrap();
    }

    /// lapin ends its connection over names that are not UTF-8, and overflows its stack over tables in tables: either would
    /// come again on every connection.
    async fn what_no_client_reads_is_handled_like_any_other(server: &RabbitServer) {
        let broker = RabbitMq::new(&server.url()).unwrap();
        let mut events = broker.subscribe(Subscribe::to("strange.*").group("g")).await.unwrap();
        let deep = (0..10_000u32).fold(Vec::new(), |inner: Vec<u8>, level| {
            [&b"\x01aF"[..], &(level * 7).to_be_bytes(), &inner].concat()
        });
        let table = |table: &[u8]| {
            [&b"\x20\0"[..], &u32::try_from(table.len()).unwrap().to_be_bytes(), table].concat()
        };
        let strange = [
            (&b"strange.a"[..], b"\x80\0\x02\xff\xfe".to_vec()),
            (b"strange.a", b"\0\x80\x06J\xfcrgen".to_vec()),
            (b"strange.a", table(b"\x02\xfcaS\0\0\0\x01x\x03x-bS\0\0\0\x01y")),
            (b"strange.a", table(&[&deep[..], b"\x03x-bS\0\0\0\x01y"].concat())),
            (b"strange.\xfc", b"\0\0".to_vec()),
        ];
        for (key, properties) in &strange {
            publish_raw(server.port(), "micro.events", key, properties, b"strange");
        }
        for (key, properties) in &strange {
            let delivery = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
            let event = delivery.event();
            assert_eq!(
                (&*event.topic, &event.body[..]),
                (&*String::from_utf8_lossy(key).replace('\u{fffd}', "?"), &b"strange"[..])
            );
            if properties.ends_with(b"y") {
                assert_eq!(event.headers["x-b"], "y");
            }
            if properties.ends_with(b"rgen") {
                assert_eq!(event.id.to_string(), "J?rgen");
            }
            delivery.ack().await.unwrap();
        }
        assert_eq!(events.health().report().restored, 0, "the connection stood");
    }

    /// 150 MB are tried to be published; what may be on its way is less than half of that.
    async fn a_server_that_takes_nothing_does_not_fill_its_publisher(server: &RabbitServer) {
        let proxy = Proxy::before(server.port()).await;
        let url = server.url().replace(&server.port().to_string(), &proxy.port.to_string());
        let broker = Arc::new(RabbitMq::new(&url).unwrap());
        broker.publish(Event::new("held.x", "before"), PATIENCE).await.unwrap();
        proxy.hold(true);
        let body = Bytes::from(vec![7; 1 << 20]);
        let (mut on_their_way, mut refused) = (0, 0);
        for _ in 0..150 {
            match broker.publish(Event::new("held.x", body.clone()), Duration::from_millis(10)).await {
                Err(Error::Unconfirmed { .. }) => on_their_way += 1,
                Err(Error::Unavailable { .. }) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(on_their_way <= 64 && refused >= 86, "{on_their_way} on their way, {refused} refused");
        proxy.hold(false);
        let begun = Instant::now();
        while let Err(error) = broker.publish(Event::new("held.x", "after"), PATIENCE).await {
            assert!(begun.elapsed() < PATIENCE, "{error:?}");
        }
    }

    /// What quorum queues are for: the server with the leader is killed, and comes back to one of the others.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_cluster_whose_leader_is_killed_loses_nothing_of_a_quorum_queue() {
        let Some([mut first, _second, _third]) = RabbitServer::cluster() else { return };
        let url = format!("{}?quorum", first.url());
        faults::a_killed_and_restarted_broker_loses_nothing_of(&url, &mut first).await;
    }

    /// A queue that is alone in its cluster should elect itself; what was seen instead is told at `RabbitMq::quorum`.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "RabbitMQ 3.10.8 may elect no leader for a queue that was in use when its only server was killed"]
    async fn every_confirmed_event_of_a_quorum_queue_is_handled() {
        let Some(mut server) = RabbitServer::start() else { return };
        let url = format!("{}?quorum", server.url());
        faults::a_killed_and_restarted_broker_loses_nothing_of(&url, &mut server).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes a minute"]
    async fn a_publisher_that_is_faster_for_a_minute_does_not_fill_its_consumer() {
        let Some(server) = RabbitServer::start() else { return };
        faults::a_faster_publisher_does_not_fill_its_consumer(&server.url(), Duration::from_secs(60)).await;
    }

    #[tokio::test]
    async fn publishing_without_a_broker_fails_in_time_and_says_so() {
        faults::publishing_without_a_broker_fails_in_time_and_says_so("amqp").await;
    }
}

mod go_micro {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use futures_util::StreamExt;
    use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions};
    use lapin::types::{AMQPValue, FieldTable};
    use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
    use micro_broker::{Broker, Envelope, Event, Publisher, RabbitMq, Subscribe};

    use crate::server::{RabbitServer, Server};
    use crate::suite::PATIENCE;

    /// What its plugin sends beside the body, as a table of long strings.
    const HEADERS: [(&str, &str); 3] = [
        ("Content-Type", "application/json"),
        ("Micro-ID", "fe7cb2f1-6a27-4512-a985-ed65d3e5a6f6"),
        ("Micro-Topic", "topic.greet"),
    ];
    const BODY: &[u8] = b"{\"name\":\"ev\"}\n";

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn its_events_are_read_and_written_as_it_writes_them() {
        let Some(server) = RabbitServer::start() else { return };
        let broker = RabbitMq::new(&server.url()).unwrap().envelope(Envelope::GoMicro);
        let mut ours = broker.subscribe(Subscribe::to("topic.*").group("g")).await.unwrap();
        let connection = Connection::connect(&server.url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let mut theirs = consume(&channel).await.unwrap();

        send(&channel).await.unwrap();
        let delivery = tokio::time::timeout(PATIENCE, ours.next()).await.unwrap().unwrap();
        let event: Event = delivery.event().clone();
        delivery.ack().await.unwrap();
        assert_eq!((&*event.topic, &event.body[..], event.attempt), ("topic.greet", BODY, 1));
        assert_eq!(event.id.to_string(), HEADERS[1].1);
        assert_eq!(event.headers["content-type"], "application/json");
        let sent = tokio::time::timeout(PATIENCE, theirs.next()).await.unwrap().unwrap().unwrap();

        Publisher::new(Arc::new(broker)).publish(event).await.unwrap();
        let written = tokio::time::timeout(PATIENCE, theirs.next()).await.unwrap().unwrap().unwrap();
        assert_eq!((table(&written), &written.data), (table(&sent), &sent.data));
    }

    /// As go-micro subscribes: a queue of the server's naming on its exchange, which ours has made as it does.
    async fn consume(channel: &Channel) -> lapin::Result<Consumer> {
        let queue =
            channel.queue_declare("".into(), QueueDeclareOptions::default(), FieldTable::default()).await?;
        let (name, bind) = (queue.name().clone(), QueueBindOptions::default());
        channel
            .queue_bind(name.clone(), "micro".into(), "topic.greet".into(), bind, FieldTable::default())
            .await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        channel.basic_consume(name, "".into(), options, FieldTable::default()).await
    }

    async fn send(channel: &Channel) -> lapin::Result<()> {
        let mut table = FieldTable::default();
        for (name, value) in HEADERS {
            table.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        let (properties, options) =
            (BasicProperties::default().with_headers(table), BasicPublishOptions::default());
        channel.basic_publish("micro".into(), "topic.greet".into(), options, BODY, properties).await.map(drop)
    }

    fn table(delivery: &lapin::message::Delivery) -> BTreeMap<String, AMQPValue> {
        let table = delivery.properties.headers().clone().unwrap_or_default();
        table.inner().iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    }
}
