//! The promises of [`JetStream`](micro_broker::JetStream) and [`Nats`](micro_broker::Nats).

use std::sync::Arc;

use micro_broker::Broker;

use crate::server::{NatsServer, Server};
use crate::suite::Backend;

struct Kept;

impl Backend for Kept {
    type Server = NatsServer;

    async fn start() -> Option<NatsServer> {
        NatsServer::start()
    }

    fn open(server: &NatsServer) -> Arc<dyn Broker> {
        micro_broker::open(&server.url()).unwrap()
    }
}

mod jetstream {
    crate::suite::promises!(super::super::Kept);
}

struct Forgetful;

impl Backend for Forgetful {
    type Server = NatsServer;

    async fn start() -> Option<NatsServer> {
        NatsServer::start()
    }

    fn open(server: &NatsServer) -> Arc<dyn Broker> {
        micro_broker::open(&format!("{}?core", server.url())).unwrap()
    }

    const KEEPS: bool = false;
}

mod core {
    crate::suite::promises!(super::super::Forgetful);
}

mod kept_whatever_fails {
    use std::time::{Duration, Instant};

    use futures_util::StreamExt;
    use http::{HeaderName, HeaderValue};
    use micro_broker::{DEAD_GROUP, DEAD_REASON, Error, Event, Publisher, Reject, Subscribe, deliver};
    use tower::service_fn;

    use crate::faults;
    use crate::server::{NatsServer, Server};
    use crate::suite::PATIENCE;

    macro_rules! faults {
        ($($fault:ident($($reference:tt)+))*) => {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $fault() {
                    #[allow(unused_mut, reason = "only some faults change the server")]
                    let Some(mut server) = NatsServer::start() else { return };
                    faults::$fault($($reference)+ server).await;
                }
            )*
        };
    }

    faults! {
        a_killed_and_restarted_broker_loses_nothing(&mut)
        a_frozen_broker_loses_nothing(&)
        a_cut_connection_loses_nothing(&)
        what_a_killed_consumer_held_goes_to_another(&)
        what_a_frozen_consumer_holds_goes_to_another(&)
        a_poisonous_event_is_put_aside_and_holds_nobody_up(&)
        a_publisher_far_ahead_does_not_fill_its_consumer(&)
        what_a_dead_broker_did_not_confirm_is_not_reported_published(&mut)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_faster_publisher_does_not_fill_its_consumer() {
        fast(Duration::from_secs(6)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes two minutes"]
    async fn a_publisher_that_is_faster_for_a_minute_does_not_fill_its_consumer() {
        fast(Duration::from_secs(60)).await;
    }

    async fn fast(length: Duration) {
        let Some(server) = NatsServer::start() else { return };
        for url in [server.url(), format!("{}?core", server.url())] {
            faults::a_faster_publisher_does_not_fill_its_consumer(&url, length).await;
        }
    }

    /// Streams keep what somebody waits for: if the first publisher made them, what it publishes would be lost.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_subscriber_brings_its_streams_back_to_a_server_that_has_lost_its_store() {
        let Some(mut server) = NatsServer::start() else { return };
        let broker = micro_broker::open(&server.url()).unwrap();
        let mut orders = broker.subscribe(Subscribe::to("orders.made").group("billing")).await.unwrap();
        server.kill();
        server.lose_store();
        tokio::task::block_in_place(|| server.restart());

        let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
        let waited_for = async |stream: &str| {
            let found = context.get_stream(stream).await;
            found.is_ok_and(|stream| stream.cached_info().state.consumer_count > 0)
        };
        let begun = Instant::now();
        while !(waited_for("orders").await && waited_for("dead").await) {
            assert!(begun.elapsed() < PATIENCE, "nobody waits for events");
            // The subscription does its work as it is polled.
            let nothing = tokio::time::timeout(Duration::from_millis(50), orders.next()).await;
            assert!(nothing.is_err(), "{nothing:?}");
        }
        let publisher = Publisher::new(micro_broker::open(&server.url()).unwrap());
        publisher.publish(Event::new("orders.made", "7 apples")).await.unwrap();
        let order = tokio::time::timeout(PATIENCE, orders.next()).await.unwrap().unwrap();
        assert_eq!(order.event().body, "7 apples");
        order.ack().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_event_that_fills_its_message_becomes_a_dead_letter_all_the_same() {
        let Some(server) = NatsServer::start() else { return };
        let reason = "the event can never be handled: too heavy ";
        let cut = [None, Some(reason[..32].trim_end()), Some(reason)];
        // In go-micro's form a letter that does not fit is written in ours, where there is room for all.
        let cases = [
            ("full", "", 1 << 20, cut),
            ("filled", "?core", 1 << 20, cut),
            ("fuller", "?envelope=go-micro", 3 << 18, [Some(reason); 3]),
            ("fullest", "?core&envelope=go-micro", 3 << 18, [Some(reason); 3]),
        ];
        for (topic, query, mut largest, said) in cases {
            let url = format!("{}{query}", server.url());
            let broker = micro_broker::open(&url).unwrap();
            let mut dead =
                broker.subscribe(Subscribe::to(format!("dead.{topic}")).group(DEAD_GROUP)).await.unwrap();
            let handled = broker.subscribe(Subscribe::to(topic).group("g")).await.unwrap();
            let service = service_fn(|_: Event| async { Err::<(), _>(Reject::new("too heavy ".repeat(90))) });
            tokio::spawn(deliver(handled, service).run());
            let publisher = Publisher::new(broker);
            let event = |size: usize| Event::new(topic, vec![b'x'; size]).id(format!("{size}"));
            while let Err(error) = publisher.publish(event(largest)).await {
                assert!(matches!(error, Error::Invalid { .. }), "{error}");
                largest -= 1;
            }
            for (room, said) in [0, 100, 2_000].into_iter().zip(said) {
                if room > 0 {
                    publisher.publish(event(largest - room)).await.unwrap();
                }
                let letter = tokio::time::timeout(PATIENCE, dead.next()).await.unwrap().unwrap();
                let event = letter.event();
                let size = largest - room;
                assert_eq!((event.id.to_string(), event.body.len()), (size.to_string(), size), "{url}");
                let why = event.headers.get(DEAD_REASON).map(|why| why.to_str().unwrap());
                assert_eq!(why.is_some(), said.is_some(), "{url}: {why:?}");
                assert!(said.is_none_or(|said| why.unwrap().starts_with(said)), "{url}: {why:?}");
                letter.ack().await.unwrap();
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_header_arrives_or_the_event_is_refused() {
        let Some(server) = NatsServer::start() else { return };
        for query in ["", "?core", "?envelope=go-micro", "?core&envelope=go-micro"] {
            let broker = micro_broker::open(&format!("{}{query}", server.url())).unwrap();
            let mut all = broker.subscribe(Subscribe::to("headed").group("g")).await.unwrap();
            let publisher = Publisher::new(broker);
            let event = |value: &[u8]| {
                let value = HeaderValue::from_bytes(value).unwrap();
                Event::new("headed", "x").header(HeaderName::from_static("x-name"), value)
            };
            let error = publisher.publish(event(b"\xff")).await.unwrap_err();
            assert!(matches!(error, Error::Invalid { .. }) && error.is_unpublished(), "{query}: {error}");
            assert!(error.to_string().contains("x-name"), "{query}: {error}");
            publisher.publish(event("Ärger".as_bytes())).await.unwrap();
            let delivery = tokio::time::timeout(PATIENCE, all.next()).await.unwrap().unwrap();
            assert_eq!(delivery.event().headers["x-name"].as_bytes(), "Ärger".as_bytes(), "{query}");
            delivery.ack().await.unwrap();
        }
    }

    /// Whoever speaks the protocol can publish headers that async-nats does not read, but gives up its connection over.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_event_whose_headers_cannot_be_read_is_handled_like_any_other() {
        let Some(server) = NatsServer::start() else { return };
        let broker = micro_broker::open(&server.url()).unwrap();
        let subscribe = Subscribe::to("strange.*").group("g").ack_wait(Duration::from_secs(2));
        let mut events = broker.subscribe(subscribe).await.unwrap();
        let publisher = Publisher::new(broker);
        publisher.publish(Event::new("strange.no", "1")).await.unwrap();
        server.publish_raw("strange.yes", b"NATS/1.0\r\nname: J\xfcrgen\r\nx-a: b\r\n\r\n", b"2");
        server.publish_raw("strange.yes", b"NATS/1.0\r\nwithout a colon\r\n\r\n", b"3");
        server.publish_raw("strange.yes", b"NATS/1.0 503\r\n\r\n", b"4");
        // At this one it panics.
        server.publish_raw("strange.yes", b"NATS/1.0\r\nname: a\rb\r\n\r\n", b"5");
        publisher.publish(Event::new("strange.no", "6")).await.unwrap();
        let (mut handled, begun) = (std::collections::BTreeSet::new(), Instant::now());
        let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
        let pending = async || {
            let stream = context.get_stream("strange").await.unwrap();
            let mut consumers = stream.consumers();
            consumers.next().await.unwrap().unwrap().num_ack_pending
        };
        while handled.len() < 6 || pending().await > 0 {
            assert!(begun.elapsed() < PATIENCE, "{handled:?} were handled");
            let Ok(delivery) = tokio::time::timeout(Duration::from_millis(100), events.next()).await else {
                continue;
            };
            let delivery = delivery.unwrap();
            let event = delivery.event();
            if event.body == "2" {
                assert_eq!(
                    (&*event.topic, &event.headers["x-a"]),
                    ("strange.yes", &HeaderValue::from_static("b"))
                );
                assert_eq!(event.headers["name"].as_bytes(), "J\u{fffd}rgen".as_bytes());
            }
            handled.insert(event.body.clone());
            // Where the connection it came by has just ended, it comes again.
            let _ = delivery.ack().await;
        }
        let restored = events.health().report().restored;
        let nothing = tokio::time::timeout(Duration::from_secs(3), events.next()).await;
        assert!(nothing.is_err(), "all were acknowledged: {nothing:?}");
        assert_eq!(events.health().report().restored, restored, "the connection stands");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn headers_that_nobody_can_read_end_no_subscription() {
        let Some(server) = NatsServer::start() else { return };
        let broker = micro_broker::open(&format!("{}?core", server.url())).unwrap();
        let mut events = broker.subscribe(Subscribe::to("strange").group("g")).await.unwrap();
        let publisher = Publisher::new(broker);
        for head in [&b"NATS/1.0\r\nname: J\xfcrgen\r\n\r\n"[..], b"NATS/1.0\r\nname: a\rb\r\n\r\n"] {
            let restored = events.health().report().restored;
            server.publish_raw("strange", head, b"");
            let begun = Instant::now();
            while events.health().report().restored == restored {
                assert!(begun.elapsed() < PATIENCE, "{:?}", events.health().report());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // Once the connection is back, the subscription follows within a moment.
            loop {
                let _ = publisher.publish(Event::new("strange", "x")).await;
                if let Ok(delivery) = tokio::time::timeout(Duration::from_millis(200), events.next()).await {
                    delivery.unwrap().ack().await.unwrap();
                    break;
                }
                assert!(begun.elapsed() < PATIENCE, "{:?}", events.health().report());
            }
        }
    }

    #[tokio::test]
    async fn publishing_without_a_broker_fails_in_time_and_says_so() {
        faults::publishing_without_a_broker_fails_in_time_and_says_so("nats").await;
    }
}

mod forgotten_honestly {
    use std::time::Duration;

    use futures_util::StreamExt;
    use micro_broker::{Broker, Event, Nats, Publisher, Subscribe};

    use crate::server::{NatsServer, Server};
    use crate::suite::PATIENCE;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_slow_consumer_loses_counted_events_and_disturbs_nobody() {
        let Some(server) = NatsServer::start() else { return };
        let broker = Nats::new(&server.url()).unwrap();
        let slow = broker.subscribe(Subscribe::to("flood").group("slow").buffer(100)).await.unwrap();
        let mut quick = broker.subscribe(Subscribe::to("flood").group("quick")).await.unwrap();
        let publisher = Publisher::new(std::sync::Arc::new(Nats::new(&server.url()).unwrap()));
        for i in 0..10_000 {
            publisher.publish(Event::new("flood", i.to_string())).await.unwrap();
        }
        for i in 0..10_000 {
            let delivery = tokio::time::timeout(PATIENCE, quick.next()).await.unwrap().unwrap();
            assert_eq!(delivery.event().body, i.to_string());
            delivery.ack().await.unwrap();
        }
        let mut health = slow.health();
        while health.report().dropped < 9_900 {
            tokio::time::timeout(PATIENCE, health.changed()).await.unwrap().unwrap();
        }
        let report = health.report();
        assert_eq!((report.dropped, report.restored, report.connected), (9_900, 0, true));
        assert!(report.trouble.unwrap().contains(r#"topic "flood" of group "slow""#));
    }

    /// One thread for the client and for who takes events from it: the client reads what has come meanwhile in one go.
    #[tokio::test]
    async fn what_comes_while_a_process_is_busy_waits_in_the_buffer() {
        const EVENTS: usize = 200_000;
        let Some(server) = NatsServer::start() else { return };
        let broker = Nats::new(&server.url()).unwrap();
        let mut all = broker.subscribe(Subscribe::to("flood").buffer(EVENTS)).await.unwrap();
        let url = server.url();
        let publisher = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = async_nats::connect(url).await.unwrap();
                for _ in 0..EVENTS {
                    client.publish("flood", "".into()).await.unwrap();
                }
                client.flush().await.unwrap();
            });
        });
        publisher.join().unwrap();
        for taken in 0..EVENTS {
            let delivery = tokio::time::timeout(PATIENCE, all.next()).await;
            let delivery = delivery.unwrap_or_else(|_| panic!("{taken} came: {:?}", all.health().report()));
            delivery.unwrap().ack().await.unwrap();
        }
        let report = all.health().report();
        assert_eq!((report.dropped, report.trouble), (0, None));
    }

    #[tokio::test]
    async fn publishing_without_a_broker_fails_in_time_and_says_so() {
        let broker = Nats::new(&format!("127.0.0.1:{}", crate::server::free_port())).unwrap();
        let publisher = Publisher::new(std::sync::Arc::new(broker)).within(Duration::from_millis(300));
        let error = publisher.publish(Event::new("t", "x")).await.unwrap_err();
        assert!(error.is_unpublished() && error.to_string().contains("unavailable"), "{error}");
    }
}

mod go_micro {
    use bytes::Bytes;
    use futures_util::StreamExt;
    use micro_broker::{Broker, Envelope, Event, Nats, Publisher, Subscribe};

    use crate::server::{NatsServer, Server};
    use crate::suite::PATIENCE;

    /// As go-micro v6.10 was seen to send it.
    const SENT: &str = r#"{"Header":{"Content-Type":"application/json","Micro-ID":"fe7cb2f1-6a27-4512-a985-ed65d3e5a6f6","Micro-Topic":"topic.greet"},"Body":"eyJuYW1lIjoiZXYifQo="}"#;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn its_events_are_read_and_written_byte_for_byte() {
        let Some(server) = NatsServer::start() else { return };
        let client = async_nats::connect(server.url()).await.unwrap();
        let broker = Nats::new(&server.url()).unwrap().envelope(Envelope::GoMicro);
        let mut ours = broker.subscribe(Subscribe::to("topic.greet")).await.unwrap();
        client.publish("topic.greet", Bytes::from_static(SENT.as_bytes())).await.unwrap();
        let delivery = tokio::time::timeout(PATIENCE, ours.next()).await.unwrap().unwrap();
        let event: Event = delivery.event().clone();
        assert_eq!(
            (&event.body[..], event.id.to_string().as_str()),
            (&b"{\"name\":\"ev\"}\n"[..], "fe7cb2f1-6a27-4512-a985-ed65d3e5a6f6")
        );

        let mut theirs = client.subscribe("topic.greet").await.unwrap();
        // The server knows of it once something has come back: a flush only hands it to the socket.
        client.publish("topic.greet", Bytes::from_static(SENT.as_bytes())).await.unwrap();
        tokio::time::timeout(PATIENCE, theirs.next()).await.unwrap().unwrap();
        Publisher::new(std::sync::Arc::new(broker)).publish(event).await.unwrap();
        let message = tokio::time::timeout(PATIENCE, theirs.next()).await.unwrap().unwrap();
        assert_eq!((std::str::from_utf8(&message.payload).unwrap(), message.headers), (SENT, None));
    }
}
