//! Each endpoint in turn.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{Context, Policy, Turnover, cycle::Cycle};
use crate::endpoint::Endpoint;

/// Each endpoint in turn, by one cursor that all clones of the balancer share: over any whole number of
/// rounds every endpoint gets exactly as many requests.
///
/// For requests that are all alike and servers that are all alike: it neither sees nor minds a slow one.
///
/// The cursor starts at random, so that many clients started at once do not march in step. When the set changes
/// it is the turn of whoever would have been next, so a change favours nobody. Weights do not count, but an endpoint that
/// [starts slowly](crate::eligible::SlowStart) has fewer turns at first.
#[derive(Debug)]
pub struct RoundRobin {
    cursor: AtomicUsize,
}

impl RoundRobin {
    /// Starts anywhere.
    pub fn new() -> Self {
        Self::starting_at(fastrand::usize(..1 << 32))
    }

    /// Starts at endpoint number `start`, modulo their number, in the order of their ids.
    pub fn starting_at(start: usize) -> Self {
        Self { cursor: AtomicUsize::new(start) }
    }
}

impl Default for RoundRobin {
    fn default() -> Self {
        Self::new()
    }
}

/// How far turns are moved on, so that a change of the set skips nobody, and whose turn is which.
#[derive(Clone, Debug)]
pub struct Phase {
    moved: usize,
    turns: Cycle,
}

impl Policy for RoundRobin {
    type Table = Phase;

    fn table(&self, endpoints: &[Endpoint]) -> Phase {
        Phase { moved: 0, turns: Cycle::of_warmth(endpoints) }
    }

    fn update(&self, before: &Phase, turnover: &Turnover<'_>) -> Option<Phase> {
        if !before.turns.is_even() || turnover.joined().any(|(_, endpoint)| endpoint.warmth() < 1.0) {
            return None;
        }
        let (were, count) = (turnover.before().len(), turnover.after().len());
        let cursor = self.cursor.load(Relaxed);
        let turn = cursor.wrapping_add(before.moved).checked_rem(were)?;
        let next = (turn..were).chain(0..turn).find_map(|index| turnover.moved(index))?;
        Some(Phase { moved: (next + count - cursor % count) % count, turns: before.turns.clone() })
    }

    #[inline]
    fn pick(&self, phase: &Phase, endpoints: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        // The skew where the cursor wraps, after 2⁶⁴ requests, is one turn in the life of a universe.
        phase.turns.at(self.cursor.fetch_add(1, Relaxed).wrapping_add(phase.moved), endpoints.len())
    }
}
