//! Clients that do the same, measured in turns.

use std::time::Instant;

use futures_util::future::BoxFuture;
use tokio::runtime::Runtime;
use tower::BoxError;

use crate::{
    bar::Bar,
    causes::with_causes,
    cpu,
    options::Options,
    report::{Report, Table},
    rotation::rotate,
    statistics::{median, paired_ratio},
};

/// One client: publishes so many events and returns when all have been received.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) run: Box<dyn Fn(usize) -> BoxFuture<'static, Result<(), BoxError>>>,
}

/// Clients that do the same. The last one is ours.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) cases: Vec<Case>,
    /// How many events a case moves in a round.
    pub(super) events: usize,
    pub(super) claim: Claim,
}

/// What is claimed of ours beside the first case.
#[derive(Clone, Copy, Debug)]
pub(super) enum Claim {
    /// At most so many times its CPU.
    Cpu(f64),
    /// At least so many times its rate: at most the inverse of its time.
    Rate(f64),
}

/// Nanoseconds for each event.
#[derive(Clone, Copy, Debug)]
struct Sample {
    cpu: f64,
    wall: f64,
}

impl Group {
    /// Measures all in rotation, prints a table, and says whether the claim holds.
    pub(super) fn measure(
        &self,
        runtime: &Runtime,
        options: &Options,
        report: &mut Report,
    ) -> Result<Vec<Bar>, BoxError> {
        let rounds = options.rounds(3, 21);
        let events = if options.quick { self.events / 4 } else { self.events };
        let one = |case: usize| sample(runtime, &self.cases[case], events);
        // The first run of each warms up.
        for case in 0..self.cases.len() {
            one(case)?;
        }
        let measured: Vec<Vec<Sample>> = rotate(self.cases.len(), rounds, one)
            .into_iter()
            .map(|samples| samples.into_iter().collect())
            .collect::<Result<_, BoxError>>()?;
        report.say(format!("{}: {rounds} rounds of {events} events of 128 bytes, medians", self.name));
        report.table(self.table(&measured));
        let (ours, base) = (&measured[measured.len() - 1], &measured[0]);
        Ok(vec![match self.claim {
            Claim::Cpu(limit) => {
                Bar::at_most(format!("broker/{}", self.name), ratio(ours, base, |sample| sample.cpu), limit)
            }
            Claim::Rate(least) => {
                let time = ratio(ours, base, |sample| sample.wall);
                Bar::at_most(format!("broker/{}-time", self.name), time, 1.0 / least)
            }
        }])
    }

    fn table(&self, measured: &[Vec<Sample>]) -> Table {
        let table = Table::new(self.name)
            .column("CPU ns", 0)
            .column("/ first", 2)
            .column("events/s", 0)
            .column("/ first", 2);
        let row = |table: Table, (case, samples): (&Case, &Vec<Sample>)| {
            let of = |figure: fn(&Sample) -> f64| median(&samples.iter().map(figure).collect::<Vec<_>>());
            let beside = |figure: fn(&Sample) -> f64| ratio(samples, &measured[0], figure);
            let (cpu, wall) = (of(|sample| sample.cpu), of(|sample| sample.wall));
            let figures = [cpu, beside(|sample| sample.cpu), 1e9 / wall, 1.0 / beside(|sample| sample.wall)];
            table.row(case.name, figures)
        };
        self.cases.iter().zip(measured).fold(table, row).charted("CPU ns")
    }
}

fn ratio(samples: &[Sample], base: &[Sample], figure: fn(&Sample) -> f64) -> f64 {
    let of = |samples: &[Sample]| samples.iter().map(figure).collect::<Vec<_>>();
    paired_ratio(&of(samples), &of(base))
}

fn sample(runtime: &Runtime, case: &Case, events: usize) -> Result<Sample, BoxError> {
    let (cpu, wall) = (cpu::used(), Instant::now());
    // On a task of its own: the thread that waits for a runtime is none of its workers, and wakes are dearer there.
    let run = runtime.spawn((case.run)(events));
    runtime.block_on(run)?.map_err(|error| format!("{}: {}", case.name, with_causes(&*error)))?;
    let (cpu, wall) = (cpu::used() - cpu, wall.elapsed());
    let each = |time: std::time::Duration| time.as_nanos() as f64 / events as f64;
    Ok(Sample { cpu: each(cpu), wall: each(wall) })
}
