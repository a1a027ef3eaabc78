//! The promises of [`RabbitMq`](micro_broker::RabbitMq).

use std::sync::Arc;

use micro_broker::Broker;

use crate::server::{RabbitServer, Server};
use crate::suite::{self, Backend};

struct Quorum;

impl Backend for Quorum {
    type Server = RabbitServer;

    async fn start() -> Option<RabbitServer> {
        RabbitServer::start()
    }

    fn open(server: &RabbitServer) -> Arc<dyn Broker> {
        micro_broker::open(&server.url()).unwrap()
    }
}

suite::promises!(Quorum, on one server);
