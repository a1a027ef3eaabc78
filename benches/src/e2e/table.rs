//! What was measured of each mode: the table, and the claims.

use super::{ours, peers};
use crate::{
    bar::Bar,
    report::Table,
    statistics::{median, paired_ratio, percentile},
};

/// One mode in one round.
#[derive(Debug)]
pub(super) struct Sample {
    /// CPU microseconds of this process per call.
    pub(super) cpu: f64,
    /// Calls per second.
    pub(super) rate: f64,
    /// Nanoseconds of some calls, sorted.
    pub(super) nanos: Vec<u64>,
}

/// All modes in all rounds.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) rows: Vec<(&'static str, Vec<Sample>)>,
}

impl Results {
    pub(super) fn bars(&self) -> Vec<Bar> {
        vec![
            Bar::at_most("e2e/one-endpoint", self.ratio(ours::ONE, peers::CHANNEL), 0.95),
            Bar::at_most("e2e/ten-endpoints", self.ratio(ours::TEN, peers::BALANCE_LIST), 0.90),
        ]
    }

    fn ratio(&self, name: &str, base: &str) -> f64 {
        paired_ratio(&self.cpu(name), &self.cpu(base))
    }

    fn cpu(&self, name: &str) -> Vec<f64> {
        let row = self.rows.iter().find(|row| row.0 == name);
        row.into_iter().flat_map(|row| &row.1).map(|sample| sample.cpu).collect()
    }

    /// Everything that was measured.
    pub(super) fn table(&self) -> Table {
        let table = Table::new("unary echo")
            .column("CPU us", 2)
            .column("/ Channel", 3)
            .column("/ list/10", 3)
            .column("calls/s", 0)
            .column("p50 ms", 2)
            .column("p99 ms", 2);
        let row = |table: Table, (name, samples): &(&'static str, Vec<Sample>)| {
            let of = |figure: fn(&Sample) -> f64| median(&samples.iter().map(figure).collect::<Vec<_>>());
            let figures = [
                of(|sample| sample.cpu),
                self.ratio(name, peers::CHANNEL),
                self.ratio(name, peers::BALANCE_LIST),
                of(|sample| sample.rate),
                of(|sample| percentile(&sample.nanos, 0.50) as f64 / 1e6),
                of(|sample| percentile(&sample.nanos, 0.99) as f64 / 1e6),
            ];
            table.row(*name, figures)
        };
        self.rows.iter().fold(table, row).charted("CPU us")
    }
}
