//! When every server fails: how much load retries add.

use std::time::Duration;

use tower::BoxError;

use super::{
    SERVERS,
    load::open_loop,
    modes::ours,
    server::{Manner, Running},
};
use crate::{bar::Bar, report::Report};

/// The claim on calls that servers get for each call of a caller.
pub(super) async fn run(rate: f64, time: Duration, report: &mut Report) -> Result<Bar, BoxError> {
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        servers.push(Running::start(Manner { fails: true, ..Manner::default() })?);
    }
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let modes = [ours(&addresses)?];
    let calls: usize = open_loop(&modes, rate.max(200.0), time).await?.iter().map(Vec::len).sum();
    let mut got = 0;
    for server in servers {
        got += server.calls()?;
    }
    report.say(format!("outage: {calls} calls, {got} at the servers"));
    Ok(Bar::at_most("tails/outage/amplification", got as f64 / calls as f64, 1.2))
}
