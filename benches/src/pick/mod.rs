//! What one balanced request costs: ready, called, answered, by endpoints that answer at once.

mod case;
mod cell;
mod measure;
pub(crate) mod mock;
mod on;
mod ours;
mod peers;

use tokio::runtime::Runtime;
use tower::BoxError;

pub(crate) use self::{
    case::Named,
    ours::{LEAST_REQUEST, PEAK_EWMA, RANDOM, ROUND_ROBIN},
};
use self::{
    cell::Cell,
    measure::{LONG_ENOUGH, TASKS},
    on::On,
};
use crate::{bar::Bar, options::Options, report::Report, versions};

/// Measures every case with every number of endpoints on both runtimes.
///
/// # Errors
///
/// When a runtime cannot be built or a request fails.
pub fn run(options: &Options, report: &mut Report) -> Result<Vec<Bar>, BoxError> {
    let counts: &[usize] = if options.quick { &[10, 1000] } else { &[2, 10, 100, 1000] };
    let rounds = options.rounds(3, 11);
    report.say(versions::of(&["tower", "tokio", "arc-swap", "micro-balance"]));
    report.say(format!("{TASKS} tasks, {rounds} rounds of about {} ms, medians", LONG_ENOUGH.as_millis()));
    let mut bars = Vec::new();
    for on in [On::CurrentThread, On::TwoWorkers] {
        for &count in counts {
            let cell = cell(on, count, rounds)?;
            report.table(cell.table());
            bars.extend(cell.bars());
        }
    }
    Ok(bars)
}

/// The names of all cases.
pub(crate) const NAMES: [&str; 8] = [
    peers::EXCLUSIVE,
    peers::BUFFER_CONSTANT,
    peers::BUFFER_PENDING,
    peers::BUFFER_EWMA,
    ROUND_ROBIN,
    RANDOM,
    LEAST_REQUEST,
    PEAK_EWMA,
];

/// Every case over `count` endpoints, on a runtime that has to be kept.
pub(crate) fn cases(runtime: &Runtime, count: usize) -> Result<Vec<Named>, BoxError> {
    let mut cases = {
        let _inside = runtime.enter();
        peers::cases(count)
    };
    cases.extend(runtime.block_on(ours::cases(count))?);
    Ok(cases)
}

fn cell(on: On, count: usize, rounds: usize) -> Result<Cell, BoxError> {
    let runtime = on.runtime()?;
    let mut cases = cases(&runtime, count)?;
    let figures = measure::all(&runtime, &mut cases, rounds)?;
    Ok(Cell { on, count, figures })
}
