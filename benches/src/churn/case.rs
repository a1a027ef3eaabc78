//! A balancer whose endpoints come and go.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use micro_balance::{
    Balance,
    policy::{LeastRequest, Maglev, PeakEwma, Policy, RingHash, RoundRobin},
};
use tokio::{runtime::Runtime, sync::mpsc, time::sleep};
use tower::{BoxError, discover::Change};

use crate::{cpu, pick::mock::Mock};

/// A kind of policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    RoundRobin,
    LeastRequest,
    PeakEwma,
    RingHash,
    Maglev,
}

impl Kind {
    pub(super) const ALL: [Self; 5] =
        [Self::RoundRobin, Self::LeastRequest, Self::PeakEwma, Self::RingHash, Self::Maglev];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LeastRequest => "least-request",
            Self::PeakEwma => "peak-ewma",
            Self::RingHash => "ring-hash",
            Self::Maglev => "maglev",
        }
    }

    /// How many microseconds one change among 10 000 may take.
    pub(super) fn limit(self) -> f64 {
        match self {
            Self::RoundRobin | Self::LeastRequest | Self::PeakEwma => 150.0,
            Self::RingHash | Self::Maglev => 5_000.0,
        }
    }
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Measured {
    /// The time until all were there.
    pub(super) build: Duration,
    /// CPU microseconds of each change, with all that is waited.
    pub(super) changes: Vec<f64>,
    /// CPU microseconds of as much waiting, without a change.
    pub(super) waits: Vec<f64>,
    /// What was allocated for each endpoint and is still there.
    pub(super) bytes: f64,
}

/// How long the balancer lets changes come together.
const TOGETHER: Duration = Duration::from_millis(1);

/// How long a change is waited for: asking often would cost more than it does.
const LOOK: Duration = Duration::from_millis(3);

type Discovered = Result<Change<u32, Mock>, Infallible>;
type Hand = mpsc::UnboundedSender<Discovered>;

/// Lets `count` endpoints come, then `changes` times one leave and come back.
pub(super) fn churn(
    runtime: &Runtime,
    kind: Kind,
    count: usize,
    changes: usize,
) -> Result<Measured, BoxError> {
    match kind {
        Kind::RoundRobin => with(runtime, RoundRobin::starting_at(0), count, changes),
        Kind::LeastRequest => with(runtime, LeastRequest, count, changes),
        Kind::PeakEwma => with(runtime, PeakEwma::new(), count, changes),
        Kind::RingHash => with(runtime, RingHash::new(), count, changes),
        Kind::Maglev => with(runtime, Maglev::new(), count, changes),
    }
}

fn with<P: Policy>(runtime: &Runtime, policy: P, count: usize, changes: usize) -> Result<Measured, BoxError> {
    // What the balancer before had is given back first.
    runtime.block_on(async { sleep(Duration::from_millis(50)).await });
    let (started, mut built) = (Instant::now(), None);
    let allocated = allocation_counter::measure(|| built = Some(runtime.block_on(build(policy, count))));
    let (balance, hand) = built.ok_or("nothing was built")??;
    let build = started.elapsed();
    let (mut measured, mut waits) = (Vec::with_capacity(2 * changes), Vec::with_capacity(changes));
    runtime.block_on(async {
        let waiting = waiting();
        for turn in 0..changes {
            let key = (turn * 7919 % count) as u32;
            measured.push(change(&balance, &hand, Change::Remove(key), count - 1).await?);
            waits.push(wait(&waiting).await?);
            measured.push(change(&balance, &hand, Change::Insert(key, Mock), count).await?);
        }
        Ok::<_, BoxError>(())
    })?;
    let bytes = allocated.bytes_current as f64 / count as f64;
    Ok(Measured { build, changes: measured, waits, bytes })
}

async fn build<P: Policy>(policy: P, count: usize) -> Result<(Balance<Mock, u64, P>, Hand), BoxError> {
    let (hand, mut changes) = mpsc::unbounded_channel::<Discovered>();
    for key in 0..count {
        hand.send(Ok(Change::Insert(key as u32, Mock)))?;
    }
    let stream = futures_util::stream::poll_fn(move |cx| changes.poll_recv(cx));
    let balance = Balance::builder(stream).policy(policy).seed(1).build();
    for _ in 0..10_000 {
        if balance.ready_endpoints() == count {
            return Ok((balance, hand));
        }
        sleep(Duration::from_millis(1)).await;
    }
    Err(format!("{count} endpoints did not become ready in time").into())
}

/// CPU microseconds from a change to the snapshot that has it.
async fn change<P: Policy>(
    balance: &Balance<Mock, u64, P>,
    hand: &Hand,
    change: Change<u32, Mock>,
    ready: usize,
) -> Result<f64, BoxError> {
    let used = cpu::used();
    hand.send(Ok(change))?;
    for _ in 0..1_000 {
        sleep(LOOK).await;
        if balance.ready_endpoints() == ready {
            return Ok((cpu::used() - used).as_nanos() as f64 / 1e3);
        }
    }
    Err("a change was never seen".into())
}

/// A task that is woken as the balancer's is, waits as long, and does nothing.
fn waiting() -> mpsc::UnboundedSender<()> {
    let (hand, mut woken) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while woken.recv().await.is_some() {
            sleep(TOGETHER).await;
        }
    });
    hand
}

/// CPU microseconds of the process to fall asleep and wake up as often as for a change.
async fn wait(waiting: &mpsc::UnboundedSender<()>) -> Result<f64, BoxError> {
    let used = cpu::used();
    waiting.send(())?;
    sleep(LOOK).await;
    Ok((cpu::used() - used).as_nanos() as f64 / 1e3)
}
