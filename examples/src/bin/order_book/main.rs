//! The service `order-book`: announced once it listens, withdrawn before it stops.

mod handler;

use std::env;

use anyhow::Context;
use handler::Handler;
use micro_discover::Address;
use micro_tower::{Service, service::Builder, wire::Router};
use tonic::service::Routes;

/// What `proto/order_book.proto` says.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod proto {
    tonic::include_proto!("order_book");
    /// For reflection: what `micro call` and `micro describe` ask for.
    pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("order_book");
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let service = placed(Service::builder("order-book").version("0.1.0"))?.build()?;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .build_v1()?;
    let server = proto::order_book_server::OrderBookServer::new(Handler);
    let routes = Routes::new(server).add_service(reflection);
    // Counts what is asked, for `micro stats` and `micro top`.
    let router = Router::new().grpc(routes.prepare(), proto::DESCRIPTORS)?;
    println!("{} {} runs", service.name(), service.version());
    service.run(router).await?;
    Ok(())
}

/// Listens where `MICRO_SERVER_ADDRESS` says, and is announced as `MICRO_SERVER_ADVERTISE`: in a container such as
/// `0.0.0.0:8080` and `order-book:8080`. Unless told, a free port of this machine is both.
fn placed(mut service: Builder) -> anyhow::Result<Builder> {
    if let Ok(address) = env::var("MICRO_SERVER_ADDRESS") {
        service = service.address(address.parse().context("MICRO_SERVER_ADDRESS")?);
    }
    if let Ok(address) = env::var("MICRO_SERVER_ADVERTISE") {
        let address: Address = address.parse().context("MICRO_SERVER_ADVERTISE")?;
        service = service.endpoint(move |mut endpoint| {
            endpoint.address = address;
            endpoint
        });
    }
    Ok(service)
}
