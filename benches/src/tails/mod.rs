//! What callers see while one of ten servers is in trouble: real processes, real sockets, an open loop.
//!
//! Each arrival calls through every balancer at once, so that a stall of the machine meets all of them alike, and
//! latency counts from when the arrival was due.

mod load;
mod modes;
mod outage;
mod scenario;
mod server;
mod table;

use std::time::Duration;

use tower::BoxError;

pub use self::server::{SERVER, serve};
use self::{scenario::SCENARIOS, table::Results};
use crate::{bar::Bar, options::Options, report::Report, versions};

/// How long a call may take, with all its attempts.
const TIMEOUT: Duration = Duration::from_millis(500);
/// How many servers there are.
const SERVERS: usize = 10;

/// Goes through every scenario.
///
/// # Errors
///
/// When a server cannot be started.
pub fn run(options: &Options, report: &mut Report) -> Result<Vec<Bar>, BoxError> {
    let (rate, time) = if options.quick { (50.0, 6) } else { (150.0, 10) };
    let time = Duration::from_secs(time * options.rounds.unwrap_or(1).max(1) as u64);
    report.say(versions::of(&["tonic", "tower", "hyper", "h2", "tokio"]));
    report.say(format!(
        "{SERVERS} servers, {rate} arrivals a second for {time:?}, each a call by every mode, limit {TIMEOUT:?}"
    ));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut bars = Vec::new();
    let mut quiet = None;
    for scenario in SCENARIOS {
        let calls = runtime.block_on(scenario.run(rate, time))?;
        let results = Results { scenario, time, calls, quiet };
        quiet = Some(results.quiet());
        results.tell(report);
        bars.extend(results.bars());
    }
    bars.push(runtime.block_on(outage::run(rate, time / 2, report))?);
    Ok(bars)
}
