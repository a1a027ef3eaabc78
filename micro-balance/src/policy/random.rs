//! Any endpoint, as likely as the next.

use super::{Context, Policy};
use crate::endpoint::Endpoint;

/// Any endpoint, each as likely.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl Policy for Random {
    type Table = ();

    fn table(&self, _: &[Endpoint]) {}

    #[inline]
    fn pick(&self, (): &(), endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        Some(context.chance.below(endpoints.len()))
    }
}
