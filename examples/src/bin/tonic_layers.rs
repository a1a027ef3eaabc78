//! Adds the server layers to a tonic service that exists already, and calls it by the client that tonic generated.
//!
//! Nothing of the service changes: deadlines of callers hold, metadata travels on, and the generated client
//! takes a balanced service where it took a channel.

use std::time::Duration;

use examples::{
    Hello,
    proto::{HelloRequest, greeter_client::GreeterClient, greeter_server::GreeterServer},
};
use micro_tower::{Client, deadline::ServerDeadlineLayer, metadata::ServerMetadataLayer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::builder()
        .layer(ServerMetadataLayer::new())
        .layer(ServerDeadlineLayer::new())
        .add_service(GreeterServer::new(Hello::new("only")))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);

    let registry = micro_discover::open(&format!("fixed://{address}"))?;
    let client = Client::builder("greeter", registry).timeout(Duration::from_secs(2)).build();
    let answer = GreeterClient::new(client).hello(HelloRequest { name: "John".into() }).await?;
    println!("{}", answer.into_inner().greeting);
    Ok(())
}
