//! What happens to the replicas, one thing after another, over the length of a run.

use std::time::Duration;

use micro_balance::State;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{kinds, load::Load, replica::Replica, report::Report, wire::Wire};

const NAMES: [&str; 3] = ["replica-1", "replica-2", "replica-3"];

/// Starts the replicas and waits until the client is connected to them.
pub(crate) async fn start(
    registry: &str,
    wire: &Wire,
    load: &Load,
    report: &Report,
) -> anyhow::Result<Vec<Replica>> {
    let home = if wire.reaches_processes() { "each a process of its own" } else { "all in this process" };
    report.say(&format!("three replicas start, {home}"));
    let started: anyhow::Result<Vec<_>> =
        NAMES.iter().map(|name| Replica::start(name, registry, wire)).collect();
    let mut replicas = started?;
    ready(load, &mut replicas).await?;
    report.say("one call of each kind: unary, and streams of requests, of answers, and of both");
    kinds::call_all(load.client()).await?;
    Ok(replicas)
}

/// Plays it all within `length`.
pub(crate) async fn play(
    (registry, wire): (&str, &Wire),
    replicas: &mut Vec<Replica>,
    load: &Load,
    report: &Report,
    length: Duration,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let at = |part: f64| sleep_until(began + length.mul_f64(part));

    at(0.15).await;
    report.say("replica-1 is killed with SIGKILL");
    replicas.remove(0).kill().await?;

    at(0.25).await;
    report.say("replica-1 is started again");
    replicas.insert(0, Replica::start(NAMES[0], registry, wire)?);
    ready(load, replicas).await?;

    at(0.35).await;
    report.say("replica-2 takes 50 ms for every answer");
    replicas[1].slow_down(Duration::from_millis(50)).await?;

    at(0.5).await;
    report.say("replica-2 is as fast as before");
    replicas[1].slow_down(Duration::ZERO).await?;

    at(0.6).await;
    for (number, name) in NAMES.into_iter().enumerate() {
        report.say(&format!("{name} is told to stop with SIGTERM, and started again"));
        replicas.remove(number).stop().await?;
        replicas.insert(number, Replica::start(name, registry, wire)?);
        ready(load, replicas).await?;
    }

    report.say("one call of each kind again");
    kinds::call_all(load.client()).await?;

    at(1.0).await;
    report.say("the run is over");
    Ok(())
}

/// Waits until the client is connected to all of `replicas`, for as long as none of them ends.
async fn ready(load: &Load, replicas: &mut [Replica]) -> anyhow::Result<()> {
    let connected = async {
        while load.endpoints().iter().filter(|view| view.state == State::Ready).count() < replicas.len() {
            replicas.iter_mut().try_for_each(Replica::check)?;
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    };
    match timeout(Duration::from_secs(20), connected).await {
        Ok(connected) => connected,
        Err(_) => anyhow::bail!("the replicas were not all ready in 20 s: {:?}", load.endpoints()),
    }
}
