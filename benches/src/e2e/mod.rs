//! What a unary gRPC call costs its client, over loopback, against a server in another process.

mod load;
mod ours;
mod peers;
pub mod proto;
mod server;
mod table;

use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use tower::BoxError;

pub use self::server::{SERVER, serve};
use self::{
    load::{Load, Mode},
    server::Running,
    table::{Results, Sample},
};
use crate::{bar::Bar, cpu, options::Options, report::Report, rotation::rotate, versions};

/// Calls of each mode in a round.
const CALLS: usize = 20_000;

/// Measures every mode in rotation.
///
/// # Errors
///
/// When the server cannot be started or a call fails.
pub fn run(options: &Options, report: &mut Report) -> Result<Vec<Bar>, BoxError> {
    let rounds = options.rounds(5, 15);
    let calls = if options.quick { CALLS / 4 } else { CALLS };
    let load = Load { tasks: options.tasks, each: (calls / options.tasks).max(1), payload: options.payload };
    report.say(versions::of(&["tonic", "tower", "hyper", "hyper-util", "h2", "tokio", "prost"]));
    report.say(format!(
        "{} calls at a time of {} bytes on {}, {rounds} rounds of {} calls, medians",
        load.tasks,
        load.payload,
        match options.workers {
            0 => "the current thread".to_owned(),
            workers => format!("{workers} workers"),
        },
        load.calls(),
    ));
    let server = Running::start()?;
    let runtime = runtime(options.workers)?;
    let modes = {
        let _inside = runtime.enter();
        let mut modes = peers::modes(&server.addresses)?;
        modes.extend(ours::modes(&server.addresses)?);
        modes
    };
    // Connects everything there is to connect.
    for mode in &modes {
        measure(&runtime, mode, load)?;
    }
    let measured = rotate(modes.len(), rounds, |mode| measure(&runtime, &modes[mode], load));
    let rows = modes
        .iter()
        .zip(measured)
        .map(|(mode, samples)| Ok((mode.name, samples.into_iter().collect::<Result<_, BoxError>>()?)));
    let results = Results { rows: rows.collect::<Result<_, BoxError>>()? };
    report.table(results.table());
    Ok(results.bars())
}

fn runtime(workers: usize) -> std::io::Result<Runtime> {
    match workers {
        0 => Builder::new_current_thread().enable_all().build(),
        workers => Builder::new_multi_thread().worker_threads(workers).enable_all().build(),
    }
}

fn measure(runtime: &Runtime, mode: &Mode, load: Load) -> Result<Sample, BoxError> {
    let mut nanos = Ok(Vec::new());
    let (cpu, started) = (cpu::used(), Instant::now());
    // Counting allocations takes time of those who make them.
    allocation_counter::opt_out(|| nanos = runtime.block_on(mode.client.run(load)));
    let (cpu, elapsed) = (cpu::used() - cpu, started.elapsed());
    let calls = load.calls() as f64;
    Ok(Sample {
        cpu: cpu.as_nanos() as f64 / 1e3 / calls,
        rate: calls / elapsed.as_secs_f64(),
        nanos: nanos.map_err(|error| format!("{}: {error}", mode.name))?,
    })
}
