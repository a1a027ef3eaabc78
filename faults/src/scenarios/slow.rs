//! Nodes that are too slow, or stand still.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use super::{calm, nothing};
use crate::{fleet::Fleet, load::Load, node::Mood, outcome::Outcome};

/// Row 5: a node is frozen by SIGSTOP.
pub(crate) async fn frozen() -> anyhow::Result<Outcome> {
    let fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    let trouble = async {
        calm().await;
        fleet.nodes[0].signal(Signal::STOP)
    };
    let noticed = Load::gets(10).run(&client, trouble).await?;
    // An attempt's limit is a second; what comes on top of it is the next attempt.
    Ok(Outcome::unnoticed(&noticed, noticed.max() <= 1100 && noticed.p99() < 50, ""))
}

/// Row 6: a node takes 250 times as long.
pub(crate) async fn slower() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    fleet.nodes[0].mood(Mood::Answers(500)).await?;
    sleep(Duration::from_millis(50)).await;
    let noticed = Load::gets(10).run(&client, nothing()).await?;
    let share = fleet.nodes[0].deeds.all() as f64 / fleet.reached() as f64;
    let more = format!(", its share {:.1} %", share * 100.0);
    Ok(Outcome::unnoticed(&noticed, share <= 0.02 && noticed.p99() < 100, &more))
}

/// Row 20: one node begins its answers at once, and then says a byte each half second.
pub(crate) async fn dripping() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    fleet.nodes[0].mood(Mood::Drips).await?;
    sleep(Duration::from_millis(50)).await;
    let noticed = Load::gets(8).run(&client, nothing()).await?;
    Ok(Outcome::unnoticed(&noticed, noticed.max() <= 1100, ""))
}

/// Row 22: callers give up after 200 ms what would take 2 s.
pub(crate) async fn given_up() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    fleet.mood(Mood::Answers(2000)).await?;
    let load = Load { patience: Duration::from_millis(200), ..Load::gets(4) };
    let noticed = load.run(&client, nothing()).await?;
    sleep(Duration::from_millis(500)).await;
    let (reached, dropped) =
        (fleet.reached(), fleet.nodes.iter().map(|node| node.deeds.dropped()).sum::<usize>());
    let in_flight: u64 = client.endpoints().iter().map(|view| view.in_flight).sum();
    let done: usize = fleet.nodes.iter().map(|node| node.deeds.done()).sum();
    let holds = noticed.gave_up == noticed.calls() && done == 0 && in_flight == 0;
    Ok(Outcome::new(
        holds,
        format!(
            "{} gave up; {dropped} of {reached} that arrived were stopped; {in_flight} still counted",
            noticed.gave_up
        ),
    ))
}
