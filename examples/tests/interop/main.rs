//! The interoperability tests of gRPC against the example `interop`: by the clients of Python and of tonic, and
//! by tonic's over our own client.
#![allow(clippy::panic)]

mod cases;
mod grpcio;
mod server;
mod shutdown;

use std::{sync::Arc, time::Duration};

use examples::broker::Broker;
use micro_discover::{Endpoint, Memory, Registry as _, Service};
use micro_tower::{Client, transport::Connector};

use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tonics_client_passes_every_case() {
    let server = Server::start(&[]);
    let uri = format!("http://{}", server.address).parse().expect("an address is a URI");
    let channel = tonic::transport::Channel::builder(uri).connect().await.expect("the server listens");
    cases::all(channel).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_balanced_client_passes_every_case() {
    let (one, two) = (Server::start(&[]), Server::start(&[]));
    cases::all(client_of(&[one, two], "").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_balanced_client_passes_every_case_over_nats() {
    let Some(broker) = Broker::or_skip(Broker::nats()) else { return };
    let servers = [(); 2].map(|()| Server::start(&["--listen", broker.url()]));
    cases::all(client_of(&servers, broker.url()).await).await;
}

/// A client of `servers`, whose names are known to `broker` if they are names.
async fn client_of(servers: &[Server], broker: &str) -> Client {
    let endpoints = servers.iter().enumerate().map(|(number, server)| {
        let address = server.address.parse().expect("it says an address");
        Endpoint::new(number.to_string(), address)
    });
    let service = endpoints.fold(Service::new("interop"), Service::endpoint);
    let registry = Memory::default();
    registry.announce(&service, Duration::ZERO).await.expect("memory takes any record");
    // On a busy machine a broker may take its time.
    let connector = Connector::new().connect_timeout(Duration::from_secs(10)).broker(broker);
    Client::builder("interop", Arc::new(registry)).connector(connector).build()
}

#[test]
fn pythons_client_passes_every_case() {
    let Some(grpcio) = grpcio::install() else { return };
    let server = Server::start(&[]);
    grpcio.run_cases(&server.address);
}
