//! Adds the server layers to an axum router, and announces it for as long as it runs: its handlers know how long their
//! callers still wait.

use axum::{Router, routing::get};
use http_body_util::BodyExt;
use micro_discover::{Announce, Endpoint, Service};
use micro_tower::{
    Client,
    deadline::{Deadline, ServerDeadlineLayer},
    metadata::ServerMetadataLayer,
    transport::Connector,
};
use tokio::net::TcpListener;

/// How long the caller still waits, as the handler sees it.
async fn left() -> String {
    match Deadline::current() {
        Some(deadline) => format!("under {} ms left", deadline.left().as_millis() + 1),
        None => "no hurry".to_owned(),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let registry = micro_discover::open("memory:")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = Endpoint::new("clock-1", listener.local_addr()?.try_into()?);
    let clock = Service::new("clock").version("1.0.0").endpoint(endpoint);
    let announcement = Announce::new(registry.clone(), clock).start().await?;

    let router = Router::new()
        .route("/left", get(left))
        .layer(ServerDeadlineLayer::new())
        .layer(ServerMetadataLayer::new());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let client = Client::builder("clock", registry)
        .connector(Connector::http1())
        .timeout(std::time::Duration::from_millis(500))
        .build();
    let request = http::Request::get("http://clock/left").body(String::new())?;
    let answer = client.send(request).await.map_err(anyhow::Error::from_boxed)?;
    let text = answer.into_body().collect().await.map_err(anyhow::Error::from_boxed)?;
    println!("{}", String::from_utf8_lossy(&text.to_bytes()));
    announcement.withdraw().await?;
    Ok(())
}
