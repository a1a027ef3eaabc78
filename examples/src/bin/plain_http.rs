//! A plain HTTP client: two servers that know nothing of Micro, one of which goes away.

use std::collections::BTreeSet;

use axum::{Router, routing::get};
use http::Request;
use http_body_util::BodyExt;
use micro_balance::policy::RoundRobin;
use micro_tower::{Client, transport::Connector};
use tokio::{net::TcpListener, task::JoinHandle};

async fn server(name: &'static str) -> anyhow::Result<(String, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let router = Router::new().route("/items/7", get(move || async move { name }));
    let task = tokio::spawn(async move {
        // It runs until it is aborted.
        let _ = axum::serve(listener, router).await;
    });
    Ok((address, task))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (a, _running) = server("a").await?;
    let (b, going) = server("b").await?;
    let registry = micro_discover::open(&format!("fixed://{a},{b}"))?;
    let client =
        Client::builder("catalog", registry).connector(Connector::http1()).policy(RoundRobin::new()).build();

    let mut answered = BTreeSet::new();
    for call in 0..200 {
        if call == 100 {
            going.abort();
        }
        let request = Request::get("http://catalog/items/7").body(String::new())?;
        let answer = client.send(request).await.map_err(anyhow::Error::from_boxed)?;
        anyhow::ensure!(answer.status().is_success(), "call {call}: {}", answer.status());
        let body = answer.into_body().collect().await.map_err(anyhow::Error::from_boxed)?;
        answered.insert(String::from_utf8_lossy(&body.to_bytes()).into_owned());
    }
    println!("200 answers, from {}", Vec::from_iter(answered).join(" and "));
    Ok(())
}
