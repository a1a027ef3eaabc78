//! What came of the calls in one scenario: the table, and the claims.

use std::{fmt, time::Duration};

use super::{
    SERVERS, TIMEOUT,
    load::Call,
    modes::{BASE, OURS},
    scenario::{Calls, Scenario},
};
use crate::{bar::Bar, statistics::percentile};

/// How long after a restart the share must be back.
const BACK: Duration = Duration::from_secs(2);
/// A control slower than this means that the machine was busy with something else.
const CALM: f64 = 20.0;

#[derive(Debug)]
pub(super) struct Table {
    pub(super) scenario: Scenario,
    pub(super) time: Duration,
    /// The calls by mode, and the port of the server that is in trouble.
    pub(super) calls: (Calls, u16),
}

impl Table {
    /// The claims that this scenario decides.
    pub(super) fn bars(&self) -> Vec<Bar> {
        let name = |what: &str| format!("tails/{}/{what}", self.scenario.name());
        let failed = |limit| Bar::at_most(name("failed"), self.failed(OURS), limit);
        match self.scenario {
            Scenario::Control | Scenario::Refused => vec![failed(0.0)],
            Scenario::Hole => vec![
                failed(0.001),
                Bar::at_most(name("p99.9-ms"), self.millis(OURS, 0.999), TIMEOUT.as_millis() as f64 - 1.0),
            ],
            Scenario::Slow => vec![
                failed(0.0),
                Bar::at_most(name("p99"), self.millis(OURS, 0.99) / self.millis(BASE, 0.99), 0.35),
                Bar::at_most(name("share"), self.share(OURS, Duration::ZERO) / SERVERS as f64, 0.01),
            ],
            Scenario::Restart => {
                let back = self.time.mul_f64(0.6) + BACK;
                let off = (self.share(OURS, back) - 1.0).abs();
                vec![failed(0.0), Bar::at_most(name("share-off-fair"), off, 0.5)]
            }
        }
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
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<28}{:>8}{:>10}{:>10}{:>10}{:>10}{:>10}{:>12}",
            self.scenario.name(),
            "calls",
            "failed %",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99.9 ms",
            "share"
        )?;
        for (mode, calls) in &self.calls.0 {
            let millis = |part| self.millis(mode, part);
            write!(
                f,
                "\n{mode:<28}{:>8}{:>10.3}{:>10.2}{:>10.2}{:>10.2}{:>10.2}{:>12.2}",
                calls.len(),
                self.failed(mode) * 100.0,
                millis(0.5),
                millis(0.9),
                millis(0.99),
                millis(0.999),
                self.share(mode, Duration::ZERO),
            )?;
        }
        if self.scenario == Scenario::Control && self.millis(BASE, 0.99) > CALM {
            write!(f, "\nvoid: the machine is busy, nothing can be said of latencies in this run")?;
        }
        Ok(())
    }
}
