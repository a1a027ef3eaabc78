//! Each endpoint when it is due.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{
    Context, Policy,
    cycle::{Cycle, by_deadline},
};
use crate::endpoint::Endpoint;

/// Envoy's weighted round robin: an endpoint is due every `1 / weight`, and who is due first goes first,
/// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers#weighted-round-robin>.
///
/// For agreement with Envoy, and the most even order where weights change with the age of endpoints.
///
/// The same sequence as Envoy's for a set that stays as it is, without its queue and its lock: as weights
/// are whole numbers the order repeats, so it is worked out when the set changes. A round has 65 536 places
/// at most, or four for each endpoint; weights that need more are rounded.
#[derive(Debug)]
pub struct EarliestDeadlineFirst {
    cursor: AtomicUsize,
}

impl EarliestDeadlineFirst {
    /// Starts anywhere.
    pub fn new() -> Self {
        Self::starting_at(fastrand::usize(..1 << 32))
    }

    /// Starts after `start` picks, as Envoy does by its seed.
    pub fn starting_at(start: usize) -> Self {
        Self { cursor: AtomicUsize::new(start) }
    }
}

impl Default for EarliestDeadlineFirst {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for EarliestDeadlineFirst {
    type Table = Cycle;

    fn table(&self, endpoints: &[Endpoint]) -> Cycle {
        Cycle::new(endpoints, by_deadline)
    }

    #[inline]
    fn pick(&self, table: &Cycle, endpoints: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        table.at(self.cursor.fetch_add(1, Relaxed), endpoints.len())
    }
}
