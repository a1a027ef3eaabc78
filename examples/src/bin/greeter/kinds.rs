//! All four kinds of calls, each with its answer.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use examples::proto::{HelloRequest, greeter_client::GreeterClient};
use futures_util::{TryStreamExt as _, stream};
use micro_tower::Client;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

/// Far longer than any of them takes.
const LONG: Duration = Duration::from_secs(20);

/// Makes a unary call, one that streams requests, one that streams answers, and one that streams both.
pub(crate) async fn call_all(client: Client) -> anyhow::Result<()> {
    timeout(LONG, all(GreeterClient::new(client))).await.context("the four kinds of calls take too long")?
}

async fn all(mut greeter: GreeterClient<Client>) -> anyhow::Result<()> {
    let one = greeter.hello(named("Ann")).await?.into_inner();
    ensure!(one.greeting == "Hello Ann", "{one:?}");

    let all = greeter.hello_all(stream::iter(["Ann", "Bob"].map(named))).await?.into_inner();
    ensure!(all.greeting == "Hello Ann and Bob", "{all:?}");

    let thrice: Vec<_> = greeter.hello_thrice(named("Ann")).await?.into_inner().try_collect().await?;
    ensure!(thrice.len() == 3 && thrice.iter().all(|it| it.greeting == "Hello Ann"), "{thrice:?}");

    let (names, requests) = mpsc::channel(1);
    let mut each = greeter.hello_each(ReceiverStream::new(requests)).await?.into_inner();
    for name in ["Ann", "Bob"] {
        names.send(named(name)).await?;
        let answer = each.message().await?.context("the stream of answers has ended")?;
        ensure!(answer.greeting == format!("Hello {name}"), "{answer:?}");
    }
    drop(names);
    ensure!(each.message().await?.is_none(), "more answers than requests");
    Ok(())
}

fn named(name: &str) -> HelloRequest {
    HelloRequest { name: name.to_owned() }
}
