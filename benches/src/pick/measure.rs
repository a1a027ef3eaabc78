//! CPU time and allocations of each case.

use std::time::Duration;

use tokio::runtime::Runtime;
use tower::BoxError;

use super::case::Named;
use crate::{cpu, rotation::rotate};

/// How many tasks send requests at the same time.
pub(super) const TASKS: usize = 64;
/// For how long one measurement is to use a CPU.
pub(super) const LONG_ENOUGH: Duration = Duration::from_millis(20);
/// How many requests are sent to count allocations.
const COUNTED: u64 = 10_000;

/// What was measured of one case.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) name: &'static str,
    /// CPU nanoseconds per request, by round.
    pub(super) nanos: Vec<f64>,
    /// Allocations per request.
    pub(super) allocations: f64,
}

/// Measures all cases in rotation.
pub(super) fn all(runtime: &Runtime, cases: &mut [Named], rounds: usize) -> Result<Vec<Figures>, BoxError> {
    let counts = cases.iter_mut().map(|it| calibrated(runtime, it)).collect::<Result<Vec<_>, _>>()?;
    let measured = rotate(cases.len(), rounds, |case| time(runtime, &mut cases[case], counts[case]));
    let each = cases.iter_mut().zip(measured).map(|(case, nanos)| {
        Ok(Figures {
            name: case.name,
            nanos: nanos.into_iter().collect::<Result<_, BoxError>>()?,
            allocations: allocations(runtime, case)?,
        })
    });
    each.collect()
}

/// How many requests each task must send for a measurement to be long enough.
fn calibrated(runtime: &Runtime, case: &mut Named) -> Result<u64, BoxError> {
    let warm_up = 200;
    time(runtime, case, warm_up)?;
    let nanos = time(runtime, case, warm_up)?;
    Ok((LONG_ENOUGH.as_nanos() as f64 / nanos / TASKS as f64).ceil() as u64)
}

/// CPU nanoseconds per request.
fn time(runtime: &Runtime, case: &mut Named, each: u64) -> Result<f64, BoxError> {
    let mut result = Ok(());
    let before = cpu::used();
    // Counting allocations takes time of those who make them.
    allocation_counter::opt_out(|| result = runtime.block_on(case.case.run(TASKS, each)));
    let used = cpu::used() - before;
    result?;
    Ok(used.as_nanos() as f64 / (each * TASKS as u64) as f64)
}

/// Allocations per request that this thread makes; with workers, theirs are not counted.
fn allocations(runtime: &Runtime, case: &mut Named) -> Result<f64, BoxError> {
    let mut count = |requests| {
        let mut result = Ok(());
        let counted = allocation_counter::measure(|| {
            result = runtime.block_on(case.case.run_here(requests));
        });
        result.map(|()| counted.count_total)
    };
    // What is made once, for the run itself, is in both.
    let once = count(0)?;
    Ok((count(COUNTED)? - once) as f64 / COUNTED as f64)
}
