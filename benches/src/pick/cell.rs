//! All cases at one number of endpoints on one runtime: their table, and the claims about them.

use super::{measure::Figures, on::On, ours, peers};
use crate::{
    bar::Bar,
    report::Table,
    statistics::{median, paired_ratio},
};

/// At most a twelfth of what the peer uses.
const TWELFTH: f64 = 1.0 / 12.0;
/// The numbers of endpoints that are claimed about.
const CLAIMED: [usize; 2] = [10, 1000];

/// What was measured.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) on: On,
    pub(super) count: usize,
    pub(super) figures: Vec<Figures>,
}

impl Cell {
    /// The claims that this cell decides.
    pub(super) fn bars(&self) -> Vec<Bar> {
        if !CLAIMED.contains(&self.count) {
            return Vec::new();
        }
        let name = |what: &str| format!("pick/{what}/{}/{}", self.count, self.on);
        let mut bars = vec![Bar::at_most(
            name("least-request"),
            self.ratio(ours::LEAST_REQUEST, peers::BUFFER_PENDING),
            TWELFTH,
        )];
        match self.on {
            // One thread sees every allocation.
            On::CurrentThread => bars.push(Bar::at_most(name("allocations"), self.most_allocations(), 0.0)),
            On::TwoWorkers => bars.push(Bar::at_most(
                name("peak-ewma"),
                self.ratio(ours::PEAK_EWMA, peers::BUFFER_EWMA),
                TWELFTH,
            )),
        }
        bars
    }

    fn ratio(&self, name: &str, base: &str) -> f64 {
        match (self.of(name), self.of(base)) {
            (Some(figures), Some(base)) => paired_ratio(&figures.nanos, &base.nanos),
            _ => f64::NAN,
        }
    }

    /// The most allocations per request that any policy of ours makes.
    fn most_allocations(&self) -> f64 {
        ours::ALL
            .iter()
            .map(|name| self.of(name).map_or(f64::NAN, |figures| figures.allocations))
            .fold(0.0, |most, next| if next <= most { most } else { next })
    }

    fn of(&self, name: &str) -> Option<&Figures> {
        self.figures.iter().find(|figures| figures.name == name)
    }

    /// Everything that was measured.
    pub(super) fn table(&self) -> Table {
        let table = Table::new(format!("N={} on {}", self.count, self.on))
            .column("CPU ns", 1)
            .column("allocs", 2)
            .column("/ pending", 4)
            .column("/ EWMA", 4);
        let row = |table: Table, figures: &Figures| {
            let ratio = |base| self.ratio(figures.name, base);
            let ratios = [peers::BUFFER_PENDING, peers::BUFFER_EWMA].map(ratio);
            table.row(figures.name, [median(&figures.nanos), figures.allocations, ratios[0], ratios[1]])
        };
        self.figures.iter().fold(table, row).charted("CPU ns")
    }
}
