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
    use crate::faults;
    use crate::server::RabbitServer;

    /// One server for all, because it takes ten seconds to start.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_confirmed_event_is_handled() {
        let Some(mut server) = RabbitServer::start() else { return };
        faults::a_poisonous_event_is_put_aside_and_holds_nobody_up(&server).await;
        faults::what_a_killed_consumer_held_goes_to_another(&server).await;
        faults::what_a_frozen_consumer_holds_goes_to_another(&server).await;
        faults::a_publisher_far_ahead_does_not_fill_its_consumer(&server).await;
        faults::a_frozen_broker_loses_nothing(&server).await;
        faults::a_cut_connection_loses_nothing(&server).await;
        faults::a_killed_and_restarted_broker_loses_nothing(&mut server).await;
        faults::what_a_dead_broker_did_not_confirm_is_not_reported_published(&mut server).await;
    }

    #[tokio::test]
    async fn publishing_without_a_broker_fails_in_time_and_says_so() {
        faults::publishing_without_a_broker_fails_in_time_and_says_so("amqp").await;
    }
}
