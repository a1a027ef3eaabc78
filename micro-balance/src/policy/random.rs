//! Any endpoint, as likely as its weight says.

use super::{Context, Policy, Turnover, alias::Alias};
use crate::endpoint::Endpoint;

/// Any endpoint, each as likely as its weight says.
///
/// Keeps nothing and never marches in step with other clients; for very many clients with few requests each.
/// Single servers get more than their share for a while, so [`LeastRequest`](super::LeastRequest) is better
/// where requests take long.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

/// What [`Random`] draws from: nothing, unless weights differ.
#[derive(Clone, Debug)]
pub struct RandomTable(Option<Alias>);

impl Policy for Random {
    type Table = RandomTable;

    fn table(&self, endpoints: &[Endpoint]) -> RandomTable {
        RandomTable(Alias::of(endpoints))
    }

    fn update(&self, before: &RandomTable, turnover: &Turnover<'_>) -> Option<RandomTable> {
        (before.0.is_none() && turnover.stays_even()).then_some(RandomTable(None))
    }

    #[inline]
    fn pick(&self, table: &RandomTable, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        Some(match &table.0 {
            None => context.chance.below(endpoints.len()),
            Some(alias) => alias.draw(context.chance),
        })
    }
}
