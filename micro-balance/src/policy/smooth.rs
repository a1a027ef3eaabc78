//! Each endpoint in turn, in proportion to its weight, spread as evenly as can be.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{
    Context, Policy,
    cycle::{Cycle, by_deadline},
};
use crate::endpoint::Endpoint;

/// How many steps of work a round may take before a cheaper order does.
const EFFORT: u64 = 1 << 24;

/// nginx's smooth weighted round robin: weights 5, 1, 1 give a a b a c a a, and any round has exactly
/// as many of each as its weight says,
/// <https://github.com/nginx/nginx/commit/52327e0627f49dbda1e8db695e63a4b0af4448b1>.
///
/// For agreement with nginx, and where the order within a round matters.
///
/// The round is worked out when the set changes, so a pick is one addition, from any number of threads. A
/// round has 65 536 places at most, or four for each endpoint; weights that need more are rounded. For
/// thousands of endpoints the order of a round is [`EarliestDeadlineFirst`](super::EarliestDeadlineFirst)'s.
#[derive(Debug)]
pub struct SmoothWeightedRoundRobin {
    cursor: AtomicUsize,
}

impl SmoothWeightedRoundRobin {
    /// Starts anywhere.
    pub fn new() -> Self {
        Self::starting_at(fastrand::usize(..1 << 32))
    }

    /// Starts at place `start` of the round; nginx starts at 0.
    pub fn starting_at(start: usize) -> Self {
        Self { cursor: AtomicUsize::new(start) }
    }
}

impl Default for SmoothWeightedRoundRobin {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for SmoothWeightedRoundRobin {
    type Table = Cycle;

    fn table(&self, endpoints: &[Endpoint]) -> Cycle {
        Cycle::new(endpoints, smooth)
    }

    #[inline]
    fn pick(&self, table: &Cycle, endpoints: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        table.at(self.cursor.fetch_add(1, Relaxed), endpoints.len())
    }
}

/// Each step everyone gains its weight, and who has most goes and pays the total.
fn smooth(weights: &[u32]) -> Vec<u32> {
    let total: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
    if total as u64 * weights.len() as u64 > EFFORT {
        return by_deadline(weights);
    }
    let mut gained = vec![0_i64; weights.len()];
    let mut step = || {
        let mut most = 0;
        for (index, &weight) in weights.iter().enumerate() {
            gained[index] += i64::from(weight);
            if gained[index] > gained[most] {
                most = index;
            }
        }
        gained[most] -= total;
        most as u32
    };
    (0..total).map(|_| step()).collect()
}
