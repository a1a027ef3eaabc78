//! Some of the endpoints, from which a policy chooses as if they were all.

use super::{Context, Policy};
use crate::endpoint::Endpoint;

/// Some of the endpoints, and what a policy has worked out from them.
#[derive(Debug)]
pub(super) struct Part<T> {
    endpoints: Box<[Endpoint]>,
    /// Where these are among all.
    indexes: Box<[usize]>,
    table: T,
}

impl<T> Part<T> {
    /// Those at these `indexes`.
    pub(super) fn new<P: Policy<Table = T>>(policy: &P, endpoints: &[Endpoint], indexes: Vec<usize>) -> Self {
        let endpoints: Box<[_]> = indexes.iter().filter_map(|&index| endpoints.get(index).cloned()).collect();
        Self { table: policy.table(&endpoints), endpoints, indexes: indexes.into() }
    }

    pub(super) fn table(&self) -> &T {
        &self.table
    }

    /// Picks one of them; gives where it is among all.
    pub(super) fn pick<P: Policy<Table = T>>(&self, policy: &P, context: &Context<'_>) -> Option<usize> {
        let within = match self.endpoints.len() {
            1 if !policy.is_strict() => 0,
            _ => policy.pick(&self.table, &self.endpoints, context)?,
        };
        self.indexes.get(within).copied()
    }
}
