//! Registries that are away, or say that nobody is there.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::calm;
use crate::{fleet::Fleet, load::Load, outcome::Outcome};

/// Row 12: the registry says for 5 s that there is nobody.
pub(crate) async fn empty() -> anyhow::Result<Outcome> {
    let fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    let trouble = async {
        calm().await;
        for (number, node) in fleet.nodes.iter().enumerate() {
            fleet.delist(number, node.address).await?;
        }
        sleep(Duration::from_secs(5)).await;
        for (number, node) in fleet.nodes.iter().enumerate() {
            fleet.list(number, node.address).await?;
        }
        anyhow::Ok(())
    };
    let noticed = Load::gets(9).run(&client, trouble).await?;
    Ok(Outcome::unnoticed(&noticed, true, ""))
}

/// Row 13: the registry is out of reach, while a node dies and another restarts.
pub(crate) async fn unreachable(length: Duration) -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    let mut asked = 0;
    let trouble = async {
        calm().await;
        fleet.registry.set(false);
        let (began, before) = (Instant::now(), fleet.registry.asked());
        sleep(length / 2).await;
        fleet.nodes[0].kill().await?;
        sleep(length.saturating_sub(began.elapsed())).await;
        asked = fleet.registry.asked() - before;
        fleet.registry.set(true);
        anyhow::Ok(())
    };
    let seconds = length.as_secs() + 6;
    let noticed = Load::gets(seconds).run(&client, trouble).await?;
    let rate = asked as f64 / length.as_secs_f64();
    let known = client.endpoints().len();
    let more =
        format!(", asked {rate:.2} times a second for {} s, {known} of 5 still known", length.as_secs());
    Ok(Outcome::unnoticed(&noticed, rate <= 5.0 && known == 5, &more))
}
