//! Nodes that end: killed, told to stop, replaced.

use std::{sync::Arc, time::Duration};

use micro_discover::Registry;
use tokio::time::sleep;

use super::{calm, nothing};
use crate::{
    fleet::{Fleet, client},
    load::Load,
    outcome::Outcome,
    process::Process,
};

/// Row 1: nothing goes wrong, and the load is even.
pub(crate) async fn none() -> anyhow::Result<Outcome> {
    let fleet = Fleet::new(5).await?;
    let noticed = Load::gets(6).run(&fleet.client(5).await?, nothing()).await?;
    let most = fleet.nodes.iter().map(|node| node.deeds.all()).max().unwrap_or(0);
    let uneven = most as f64 * 5.0 / fleet.reached() as f64;
    Ok(Outcome::unnoticed(&noticed, uneven <= 1.25, &format!(", most/mean load {uneven:.2}")))
}

/// Row 2: one of five is killed.
pub(crate) async fn killed() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    let trouble = async {
        calm().await;
        fleet.nodes[0].kill().await
    };
    Ok(Outcome::unnoticed(&Load::gets(8).run(&client, trouble).await?, true, ""))
}

/// Row 3: one is taken from the registry, and then told to stop.
pub(crate) async fn told_in_time() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    let trouble = async {
        calm().await;
        fleet.delist(0, fleet.nodes[0].address).await?;
        sleep(Duration::from_millis(300)).await;
        fleet.nodes[0].stop().await
    };
    Ok(Outcome::unnoticed(&Load::gets(6).run(&client, trouble).await?, true, ""))
}

/// Row 4: one is told to stop, and the registry never hears of it.
pub(crate) async fn told_and_not_delisted() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    let trouble = async {
        calm().await;
        fleet.nodes[0].stop().await
    };
    Ok(Outcome::unnoticed(&Load::gets(8).run(&client, trouble).await?, true, ""))
}

/// Row 11: half of ten are taken away, and killed a moment later.
pub(crate) async fn half_removed() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(10).await?;
    let client = fleet.client(10).await?;
    let trouble = async {
        calm().await;
        for number in 0..5 {
            fleet.delist(number, fleet.nodes[number].address).await?;
        }
        sleep(Duration::from_millis(50)).await;
        for node in &mut fleet.nodes[..5] {
            node.kill().await?;
        }
        anyhow::Ok(())
    };
    Ok(Outcome::unnoticed(&Load::gets(6).run(&client, trouble).await?, true, ""))
}

/// Row 14: a node is replaced by another every half second.
pub(crate) async fn churn() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    let trouble = async {
        for round in 0..16 {
            sleep(Duration::from_millis(500)).await;
            let number = round % 5;
            let new = Process::start(None, &[]).await?;
            fleet.list(number, new.address).await?;
            let mut old = std::mem::replace(&mut fleet.nodes[number], new);
            tokio::spawn(async move { old.stop().await });
        }
        anyhow::Ok(())
    };
    Ok(Outcome::unnoticed(&Load::gets(9).run(&client, trouble).await?, true, ""))
}

/// Row 15: each node is stopped and started again, and nobody is told that it goes.
pub(crate) async fn rolling() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    let trouble = async {
        for number in 0..5 {
            sleep(Duration::from_millis(800)).await;
            fleet.nodes[number].stop().await?;
            fleet.nodes[number] = Process::start(None, &[]).await?;
            fleet.list(number, fleet.nodes[number].address).await?;
        }
        anyhow::Ok(())
    };
    Ok(Outcome::unnoticed(&Load::gets(10).run(&client, trouble).await?, true, ""))
}

/// Row 19: a node is killed under requests that must not be repeated.
pub(crate) async fn killed_under_posts() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    let trouble = async {
        calm().await;
        fleet.nodes[0].kill().await
    };
    let noticed = Load::posts(8).run(&client, trouble).await?;
    let twice = fleet.twice();
    let holds = twice == 0 && noticed.failed * 100 <= noticed.calls();
    Ok(Outcome::new(holds, format!("{twice} carried out twice, {}", noticed.summary())))
}

/// Row 36, 37: who is killed is gone after its TTL, who stops at once. The registry is the embedded one.
pub(crate) async fn gone_from_the_registry() -> anyhow::Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let url = format!("file:{}", directory.path().display());
    let registry: Arc<dyn Registry> = micro_discover::open(&url)?;
    // The third stays: a registry that knows nobody any more would be doubted.
    let start = || Process::start(Some(&url), &[]);
    let (mut one, mut two, _three) = tokio::try_join!(start(), start(), start())?;
    let client = client(registry, 3).await?;
    let began = tokio::time::Instant::now();
    let stopping = tokio::spawn(async move { two.stop().await });
    while client.endpoints().len() > 2 && began.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_millis(5)).await;
    }
    let stopped = began.elapsed();
    stopping.await??;
    one.kill().await?;
    let began = tokio::time::Instant::now();
    while client.endpoints().len() > 1 && began.elapsed() < Duration::from_secs(20) {
        sleep(Duration::from_millis(5)).await;
    }
    let killed = began.elapsed();
    let holds = stopped <= Duration::from_secs(1) && killed <= Duration::from_secs(8);
    Ok(Outcome::new(
        holds,
        format!("SIGTERM: gone after {stopped:.2?}; SIGKILL: after {killed:.1?} of TTL 5 s"),
    ))
}
