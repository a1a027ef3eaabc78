//! The less busy of two.

use super::{Context, Policy};
use crate::endpoint::Endpoint;

/// Draws two different endpoints and takes the one with fewer requests in flight, the first if they are even.
///
/// The power of two choices: nearly as even as asking all, at the price of two
/// (Mitzenmacher, <https://doi.org/10.1109/71.963420>).
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastRequest;

impl Policy for LeastRequest {
    type Table = ();

    fn table(&self, _: &[Endpoint]) {}

    #[inline]
    fn pick(&self, (): &(), endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        if endpoints.len() < 2 {
            return Some(0);
        }
        let (first, second) = context.chance.two_below(endpoints.len());
        let busier = endpoints.get(second)?.in_flight() < endpoints.get(first)?.in_flight();
        Some(if busier { second } else { first })
    }
}
