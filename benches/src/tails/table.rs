//! What came of the calls in one scenario: the table, and the claims.

use std::time::Duration;

use super::{
    SERVERS, TIMEOUT,
    load::Call,
    modes::{BASE, OURS},
    scenario::{Calls, Scenario},
};
use crate::{
    bar::Bar,
    report::{Report, Table},
    statistics::percentile,
};

/// How long after a restart the share must be back.
const BACK: Duration = Duration::from_secs(2);
/// A control whose p99 is slower than this many milliseconds means that the machine was busy with something else.
const CALM: f64 = 20.0;
/// So does a median of this many times the control's.
const BUSY: f64 = 3.0;

#[derive(Debug)]
pub(super) struct Results {
    pub(super) scenario: Scenario,
    pub(super) time: Duration,
    /// The calls by mode, and the port of the server that is in trouble.
    pub(super) calls: (Calls, u16),
    /// The control's, unless this is the control.
    pub(super) quiet: Option<Quiet>,
}

/// Latencies of the base while nothing is wrong, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quiet {
    p50: f64,
    p99: f64,
}

impl Results {
    /// The claims that this scenario decides.
    pub(super) fn bars(&self) -> Vec<Bar> {
        let name = |what: &str| format!("tails/{}/{what}", self.scenario.name());
        let failed = |limit| Bar::at_most(name("failed"), self.failed(OURS), limit);
        let disturbed = self.is_disturbed();
        let late = |bar: Bar| bar.void_if(disturbed);
        match self.scenario {
            Scenario::Control | Scenario::Refused => vec![failed(0.0)],
            Scenario::Hole => vec![
                failed(0.001),
                late(Bar::at_most(
                    name("p99.9-ms"),
                    self.millis(OURS, 0.999),
                    TIMEOUT.as_millis() as f64 - 1.0,
                )),
            ],
            Scenario::Slow => vec![
                failed(0.0),
                late(Bar::at_most(name("p99"), self.millis(OURS, 0.99) / self.millis(BASE, 0.99), 0.35)),
                Bar::at_most(name("share"), self.share(OURS, Duration::ZERO) / SERVERS as f64, 0.01),
            ],
            Scenario::Restart => {
                let back = self.time.mul_f64(0.6) + BACK;
                let off = (self.share(OURS, back) - 1.0).abs();
                vec![failed(0.0), Bar::at_most(name("share-off-fair"), off, 0.5)]
            }
        }
    }

    /// The latencies to hold others against.
    pub(super) fn quiet(&self) -> Quiet {
        self.quiet.unwrap_or_else(|| Quiet { p50: self.millis(BASE, 0.5), p99: self.millis(BASE, 0.99) })
    }

    /// Whether the machine was so busy that latencies prove nothing.
    fn is_disturbed(&self) -> bool {
        let Quiet { p50, p99 } = self.quiet();
        p99 > CALM || self.millis(BASE, 0.5) > BUSY * p50
    }

    fn of(&self, mode: &str) -> &[Call] {
        self.calls.0.iter().find(|(name, _)| *name == mode).map_or(&[], |(_, calls)| calls)
    }

    /// Which part of the calls failed.
    fn failed(&self, mode: &str) -> f64 {
        let calls = self.of(mode);
        calls.iter().filter(|call| call.port.is_none()).count() as f64 / calls.len() as f64
    }

    /// The time in milliseconds that a part of the calls did not exceed.
    fn millis(&self, mode: &str, part: f64) -> f64 {
        let mut nanos: Vec<u64> = self.of(mode).iter().map(|call| call.took.as_nanos() as u64).collect();
        nanos.sort_unstable();
        percentile(&nanos, part) as f64 / 1e6
    }

    /// The share of the server in trouble from some time on, where 1 is fair.
    fn share(&self, mode: &str, from: Duration) -> f64 {
        let answered: Vec<_> =
            self.of(mode).iter().filter(|call| call.due >= from).filter_map(|call| call.port).collect();
        let its = answered.iter().filter(|&&port| port == self.calls.1).count();
        its as f64 * SERVERS as f64 / answered.len() as f64
    }

    /// Tells everything that was measured.
    pub(super) fn tell(&self, report: &mut Report) {
        let table = Table::new(self.scenario.name())
            .column("calls", 0)
            .column("failed %", 3)
            .column("p50 ms", 2)
            .column("p90 ms", 2)
            .column("p99 ms", 2)
            .column("p99.9 ms", 2)
            .column("share", 2);
        let row = |table: Table, (mode, calls): &(&'static str, Vec<Call>)| {
            let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|part| self.millis(mode, part));
            let (failed, share) = (self.failed(mode) * 100.0, self.share(mode, Duration::ZERO));
            table.row(*mode, [calls.len() as f64, failed, p50, p90, p99, p999, share])
        };
        report.table(self.calls.0.iter().fold(table, row).charted("p99 ms"));
        if self.is_disturbed() {
            let Quiet { p50, p99 } = self.quiet();
            report.void(format!(
                "the machine was busy: {BASE} has a p99 of {p99:.1} ms while nothing is wrong (at most {CALM}), or here a \
                 p50 of more than {BUSY} times the {p50:.1} ms it has then; latencies prove nothing"
            ));
        }
    }
}
