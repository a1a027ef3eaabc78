//! A client built step by step with `ServiceBuilder`: what [`micro_tower::Client`] is made of, to be changed at
//! any place. Two of its three endpoints refuse connections; no call fails.

use std::time::Duration;

use examples::{
    Hello,
    proto::{HelloRequest, greeter_client::GreeterClient, greeter_server::GreeterServer},
};
use micro_balance::{Balance, Http, policy::LeastRequest, retry::RetryLayer};
use micro_discover::{Endpoints, Filter, Watch};
use micro_tower::{
    deadline::{AttemptDeadlineLayer, Deadline, DeadlineLayer},
    metadata::MetadataLayer,
    status::GrpcErrorsLayer,
    transport::Connector,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let live = listener.local_addr()?;
    let greeter = GreeterServer::new(Hello::new("live"));
    tokio::spawn(
        Server::builder().add_service(greeter).serve_with_incoming(TcpListenerStream::new(listener)),
    );

    // Discovery: a registry, watched for ever; its sets, filtered; what changed in them, connected.
    let registry = micro_discover::open(&format!("fixed://{live},127.0.0.1:1,127.0.0.1:2"))?;
    let endpoints = Endpoints::new(Watch::new(registry, "greeter")).filter(Filter::new());
    let connector = Connector::new();
    let connections = endpoints.connect(move |endpoint| connector.connect_with(endpoint));

    // Balancing: any policy over any discovery.
    let balance = Balance::builder(connections).protocol(Http).policy(LeastRequest).build();

    // The request path, outermost first: headers that travel, errors as statuses, one deadline for all attempts, attempts,
    // what is left for each.
    let client = ServiceBuilder::new()
        .layer(MetadataLayer)
        .layer(GrpcErrorsLayer)
        .layer(DeadlineLayer::new().timeout(Duration::from_secs(2)))
        .layer(RetryLayer::new().deadline(|| Deadline::current().map(Deadline::instant)))
        .layer(AttemptDeadlineLayer)
        .service(balance);

    let mut greeter = GreeterClient::new(client);
    let mut answers = 0;
    for _ in 0..100 {
        greeter.hello(HelloRequest { name: "John".into() }).await?;
        answers += 1;
    }
    println!("{answers} of 100 calls were answered");
    Ok(())
}
