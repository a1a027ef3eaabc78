//! An open loop: calls begin when they are due, however long the others take.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tower::BoxError;

use super::modes::Mode;

/// One call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// When it was due, from the start.
    pub(super) due: Duration,
    /// How long it took from then on.
    pub(super) took: Duration,
    /// The port that answered; `None` when it failed.
    pub(super) port: Option<u16>,
}

/// Calls through every mode at `rate` arrivals a second for `time`; the gaps are as of a Poisson process.
/// Gives the calls by mode.
pub(super) async fn open_loop(modes: &[Mode], rate: f64, time: Duration) -> Result<Vec<Vec<Call>>, BoxError> {
    let mut random = fastrand::Rng::with_seed(7);
    let (mut running, begin) = (JoinSet::new(), Instant::now());
    let mut due = Duration::ZERO;
    let mut turn = 0;
    loop {
        due += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / rate);
        if due >= time {
            break;
        }
        sleep_until(begin + due).await;
        for place in 0..modes.len() {
            // No mode is always the first to go.
            let mode = (turn + place) % modes.len();
            let call = modes[mode].call();
            running.spawn(async move {
                let port = call.await.ok();
                (mode, Call { due, took: begin.elapsed().saturating_sub(due), port })
            });
        }
        turn += 1;
    }
    let mut calls: Vec<Vec<Call>> = modes.iter().map(|_| Vec::new()).collect();
    while let Some(done) = running.join_next().await {
        let (mode, call) = done?;
        calls[mode].push(call);
    }
    Ok(calls)
}

/// A calm second before anything is measured, in which everything connects that can.
pub(super) async fn warm_up(modes: &[Mode]) -> Result<(), BoxError> {
    open_loop(modes, 50.0, Duration::from_secs(1)).await.map(drop)
}
