//! Each endpoint in turn.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{Context, Policy};
use crate::endpoint::Endpoint;

/// Each endpoint in turn, by one cursor that all clones of the balancer share: over any whole number of
/// rounds every endpoint gets exactly as many requests.
///
/// For requests that are all alike and servers that are all alike: it neither sees nor minds a slow one.
///
/// The cursor starts at random, so that many clients started at once do not march in step, and goes on
/// from where it is when the set changes.
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

impl Policy for RoundRobin {
    type Table = ();

    fn table(&self, _: &[Endpoint]) {}

    #[inline]
    fn pick(&self, (): &(), endpoints: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        // The skew where the cursor wraps, after 2⁶⁴ requests, is one turn in the life of a universe.
        self.cursor.fetch_add(1, Relaxed).checked_rem(endpoints.len())
    }
}
