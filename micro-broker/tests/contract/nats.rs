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
