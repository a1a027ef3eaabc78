//! Nodes that answer, and answer badly.

use std::time::Duration;

use micro_balance::State;
use tokio::time::{Instant, sleep};

use super::{calm, nothing};
use crate::{fleet::Fleet, load::Load, node::Mood, outcome::Outcome};

/// How many times as many requests reached nodes as were made.
fn amplification(fleet: &Fleet, calls: usize) -> f64 {
    fleet.reached() as f64 / calls as f64
}

/// Row 7: one node answers everything with 503.
pub(crate) async fn one_refuses() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    let mut until_ejected = 0;
    let trouble = async {
        calm().await;
        fleet.nodes[0].mood(Mood::Refuses(1.0)).await?;
        while !client.endpoints().iter().any(|view| view.state == State::Ejected) {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(20)).await;
        until_ejected = fleet.nodes[0].deeds.refused();
        anyhow::Ok(())
    };
    let noticed = Load::gets(10).run(&client, trouble).await?;
    let more = format!(
        ", ejected after {until_ejected}, amplification {:.3}",
        amplification(&fleet, noticed.calls())
    );
    Ok(Outcome::unnoticed(&noticed, until_ejected <= 5, &more))
}

/// Row 8: one node answers three in ten with 503.
pub(crate) async fn one_refuses_some() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    fleet.nodes[0].mood(Mood::Refuses(0.3)).await?;
    let noticed = Load::gets(10).run(&client, nothing()).await?;
    let factor = amplification(&fleet, noticed.calls());
    Ok(Outcome::unnoticed(&noticed, factor <= 1.06, &format!(", amplification {factor:.3}")))
}

/// Row 9: one node breaks off half of what it carried out.
pub(crate) async fn one_resets() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    fleet.nodes[0].mood(Mood::Resets(0.5)).await?;
    let noticed = Load::gets(10).run(&client, nothing()).await?;
    Ok(Outcome::unnoticed(
        &noticed,
        true,
        &format!(", amplification {:.3}", amplification(&fleet, noticed.calls())),
    ))
}

/// Row 10: every node answers everything with 503.
pub(crate) async fn all_refuse() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    fleet.mood(Mood::Refuses(1.0)).await?;
    let noticed = Load::gets(10).run(&client, nothing()).await?;
    let factor = amplification(&fleet, noticed.calls());
    Ok(Outcome::new(
        factor <= 1.2,
        format!("{} of {} failed, amplification {factor:.3}", noticed.failed, noticed.calls()),
    ))
}

/// Row 17: a node that was ejected is well again.
pub(crate) async fn recovered() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    let mut back_after = Duration::ZERO;
    let trouble = async {
        calm().await;
        fleet.nodes[0].mood(Mood::Refuses(1.0)).await?;
        sleep(Duration::from_secs(2)).await;
        fleet.nodes[0].mood(Mood::Answers(2)).await?;
        let (well, had) = (Instant::now(), fleet.nodes[0].deeds.done());
        while fleet.nodes[0].deeds.done() < had + 10 {
            sleep(Duration::from_millis(5)).await;
        }
        back_after = well.elapsed();
        anyhow::Ok(())
    };
    let noticed = Load::gets(12).run(&client, trouble).await?;
    let holds = back_after <= Duration::from_secs(4);
    Ok(Outcome::unnoticed(&noticed, holds, &format!(", ten answers {back_after:.2?} after it recovered")))
}

/// Row 18: nodes break off after they carried out what must not be repeated.
pub(crate) async fn posts_reset() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    fleet.mood(Mood::Resets(0.3)).await?;
    let noticed = Load::posts(8).run(&client, nothing()).await?;
    let twice = fleet.twice();
    // A node that answers, whatever it is, has not broken off.
    let broken_off = noticed.reasons.iter().all(|reason| !reason.contains("answered"));
    let holds = twice == 0 && noticed.failed > 0 && broken_off;
    Ok(Outcome::new(
        holds,
        format!("{twice} carried out twice; {} of {} failed, and say so", noticed.failed, noticed.calls()),
    ))
}

/// Row 27: every node does badly enough to be ejected, and still answers some.
pub(crate) async fn all_ejected() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    fleet.mood(Mood::Refuses(0.7)).await?;
    let noticed = Load::gets(8).run(&client, nothing()).await?;
    let nobody = noticed.reasons.iter().filter(|reason| reason.contains("no endpoint")).count();
    let answered = noticed.calls() - noticed.failed;
    // Three tries at three in ten would be two in three; the budget affords less.
    let holds = nobody == 0 && answered * 4 >= noticed.calls();
    Ok(Outcome::new(holds, format!("{answered} of {} answered, {nobody} found no endpoint", noticed.calls())))
}
