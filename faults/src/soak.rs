//! Load, churn and faults for a long time, while memory, tasks and descriptors of the client stay as they are.

use std::{fs, time::Duration};

use micro_balance::State;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::{fleet::Fleet, load::Load, node::Mood, outcome::Outcome, process::Process};

/// What this process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    kib: u64,
    tasks: usize,
    descriptors: usize,
}

impl Held {
    fn now() -> anyhow::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().split(' ').next()?.parse().ok());
        Ok(Self {
            kib: kib.unwrap_or_default(),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
        })
    }
}

/// Goes on for `length`, with something new going wrong every second, and says what grew meanwhile.
pub(crate) async fn soak(length: Duration, seed: u64) -> anyhow::Result<Outcome> {
    let mut fleet = Fleet::new(5).await?;
    let client = fleet.patient_client(5).await?;
    let mut random = fastrand::Rng::with_seed(seed);
    // Memory settles first: buffers, histories and the allocator's own.
    let warm = Load::gets(length.as_secs().div_ceil(6).clamp(5, 120));
    let mut failed = warm.run(&client, trouble(&mut fleet, warm.length, &mut random)).await?.failed;
    settle(&client).await;
    let before = Held::now()?;
    let long = Load { length: length.saturating_sub(warm.length), ..Load::gets(0) };
    let noticed = long.run(&client, trouble(&mut fleet, long.length, &mut random)).await?;
    failed += noticed.failed;
    settle(&client).await;
    let after = Held::now()?;
    let in_flight: u64 = client.endpoints().iter().map(|view| view.in_flight).sum();
    let grown = after.kib.saturating_sub(before.kib);
    // Each caller's time is kept for the summary.
    let kept = noticed.calls() as u64 * 32 / 1024;
    let holds = failed == 0
        && in_flight == 0
        && grown <= 4096 + kept
        && after.tasks <= before.tasks + 4
        && after.descriptors <= before.descriptors + 4;
    let measured = format!(
        "{}; seed {seed}; memory {} KiB and {grown} more, tasks {} and then {}, descriptors {} and then {}",
        noticed.summary(),
        before.kib,
        before.tasks,
        after.tasks,
        before.descriptors,
        after.descriptors
    );
    Ok(Outcome::new(holds, measured))
}

/// Something goes wrong with one node each second, and is mended, until `length` is over.
async fn trouble(fleet: &mut Fleet, length: Duration, random: &mut fastrand::Rng) -> anyhow::Result<()> {
    let end = Instant::now() + length.saturating_sub(Duration::from_secs(3));
    while Instant::now() < end {
        let number = random.usize(0..fleet.nodes.len());
        match random.u32(0..6) {
            0 => {
                fleet.nodes[number].kill().await?;
                sleep(Duration::from_millis(300)).await;
                replace(fleet, number).await?;
            }
            1 => {
                fleet.nodes[number].stop().await?;
                replace(fleet, number).await?;
            }
            2 => {
                fleet.nodes[number].signal(Signal::STOP)?;
                sleep(Duration::from_millis(500)).await;
                fleet.nodes[number].signal(Signal::CONT)?;
            }
            3 => passing(fleet, number, Mood::Answers(300)).await?,
            4 => passing(fleet, number, Mood::Refuses(1.0)).await?,
            _ => {
                fleet.registry.set(false);
                sleep(Duration::from_millis(500)).await;
                fleet.registry.set(true);
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn replace(fleet: &mut Fleet, number: usize) -> anyhow::Result<()> {
    fleet.nodes[number] = Process::start(None, &[]).await?;
    fleet.list(number, fleet.nodes[number].address).await
}

async fn passing(fleet: &mut Fleet, number: usize, mood: Mood) -> anyhow::Result<()> {
    fleet.nodes[number].mood(mood).await?;
    sleep(Duration::from_millis(700)).await;
    fleet.nodes[number].mood(Mood::Answers(2)).await
}

/// Waits until every node is connected to again.
async fn settle(client: &micro_tower::Client) {
    for _ in 0..200 {
        if client.endpoints().iter().all(|view| view.state == State::Ready) {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    sleep(Duration::from_secs(2)).await;
}
