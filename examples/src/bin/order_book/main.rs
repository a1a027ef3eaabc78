//! The service `order-book`: announced once it listens, withdrawn before it stops.

mod handler;

use handler::Handler;
use micro_tower::Service;
use tonic::service::Routes;

/// What `proto/order_book.proto` says.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod proto {
    tonic::include_proto!("order_book");
    /// For reflection: what `micro call` and `micro describe` ask for.
    pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("order_book");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = Service::builder("order-book").version("0.1.0").build()?;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .build_v1()?;
    let server = proto::order_book_server::OrderBookServer::new(Handler);
    let routes = Routes::new(server).add_service(reflection);
    println!("{} {} runs", service.name(), service.version());
    service.run(routes.prepare()).await?;
    Ok(())
}
