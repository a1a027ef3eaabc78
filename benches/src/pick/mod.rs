//! What one balanced request costs: ready, called, answered, by endpoints that answer at once.

mod case;
mod cell;
mod measure;
pub(crate) mod mock;
mod on;
mod ours;
mod peers;

use tower::BoxError;

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

fn cell(on: On, count: usize, rounds: usize) -> Result<Cell, BoxError> {
    let runtime = on.runtime()?;
    let mut cases = {
        let _inside = runtime.enter();
        peers::cases(count)
    };
    cases.extend(runtime.block_on(ours::cases(count))?);
    let figures = measure::all(&runtime, &mut cases, rounds)?;
    Ok(Cell { on, count, figures })
}
