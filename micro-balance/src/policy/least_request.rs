//! The less busy of two.

use super::{Context, Policy, Turnover, alias::Alias};
use crate::{chance::Chance, endpoint::Endpoint};

/// Draws two different endpoints and takes the one with fewer requests in flight, the first if they are even.
///
/// The power of two choices: nearly as even as asking all, at the price of two
/// (Mitzenmacher, <https://doi.org/10.1109/71.963420>). Where weights differ, heavier endpoints are drawn
/// more often, and may have as many more requests in flight.
///
/// For requests that differ in length, where latency says little: streams, uploads, long polls.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastRequest;

/// What [`LeastRequest`] and [`LeastOf`](super::LeastOf) draw from: nothing, unless weights differ.
#[derive(Clone, Debug)]
pub struct LeastTable(Option<Alias>);

impl LeastTable {
    pub(super) fn new(endpoints: &[Endpoint]) -> Self {
        Self(Alias::of(endpoints))
    }

    pub(super) fn update(&self, turnover: &Turnover<'_>) -> Option<Self> {
        (self.0.is_none() && turnover.stays_even()).then_some(Self(None))
    }

    pub(super) fn alias(&self) -> Option<&Alias> {
        self.0.as_ref()
    }
}

impl Policy for LeastRequest {
    type Table = LeastTable;

    fn table(&self, endpoints: &[Endpoint]) -> LeastTable {
        LeastTable::new(endpoints)
    }

    fn update(&self, before: &LeastTable, turnover: &Turnover<'_>) -> Option<LeastTable> {
        before.update(turnover)
    }

    #[inline]
    fn pick(&self, table: &LeastTable, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        if endpoints.len() < 2 {
            return Some(0);
        }
        if let Some(alias) = &table.0 {
            return by_weight(alias, endpoints, context.chance);
        }
        let (first, second) = context.chance.two_below(endpoints.len());
        let second_wins = endpoints.get(second)?.stats().is_less_busy(endpoints.get(first)?.stats());
        // Which of them cannot be foretold.
        Some(std::hint::select_unpredictable(second_wins, second, first))
    }
}

/// Out of the way of a pick where weights do not differ, for which two words are read and nothing is jumped over.
#[cold]
fn by_weight(alias: &Alias, endpoints: &[Endpoint], chance: &Chance) -> Option<usize> {
    let first = alias.draw(chance);
    let second = another(first, endpoints.len(), || alias.draw(chance));
    Some(if is_less_busy(endpoints.get(second)?, endpoints.get(first)?) { second } else { first })
}

/// Draws one of `count` until it is not `first`, within reason.
pub(super) fn another(first: usize, count: usize, draw: impl Fn() -> usize) -> usize {
    let mut draws = (0..4).map(|_| draw());
    draws.find(|&drawn| drawn != first).unwrap_or((first + 1) % count)
}

/// Whether `a` has fewer requests in flight for its weight than `b`.
#[inline]
pub(super) fn is_less_busy(a: &Endpoint, b: &Endpoint) -> bool {
    a.in_flight() as f64 * b.weight() < b.in_flight() as f64 * a.weight()
}
