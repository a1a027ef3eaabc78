//! More requests than usual.

use super::nothing;
use crate::{
    fleet::Fleet,
    load::{Load, RATE},
    node::Mood,
    outcome::Outcome,
};

/// Row 21: four times the load, on nodes that take 50 ms for each request.
pub(crate) async fn four_times() -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.client(5).await?;
    fleet.mood(Mood::Answers(50)).await?;
    let load = Load { rate: RATE * 4, ..Load::gets(8) };
    let noticed = load.run(&client, nothing()).await?;
    let answered = noticed.calls() - noticed.failed;
    let holds = answered * 10 >= noticed.calls() * 7;
    Ok(Outcome::new(
        holds,
        format!("{} % answered, p99 {} ms", answered * 100 / noticed.calls(), noticed.p99()),
    ))
}
