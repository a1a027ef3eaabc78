//! The least busy of several, or of all.

use super::{
    Context, Policy, Turnover,
    least_request::{LeastTable, is_less_busy},
};
use crate::{endpoint::Endpoint, setting::InvalidSetting};

/// So many are drawn at most.
const MOST: u8 = 10;

/// Draws some endpoints and takes the one with the fewest requests in flight for its weight.
///
/// Envoy's `choice_count`: draws are independent of each other, so one endpoint may be drawn twice,
/// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers#weighted-least-request>.
/// For two, [`LeastRequest`](super::LeastRequest) is better: its draws differ.
///
/// ```
/// use micro_balance::policy::LeastOf;
///
/// let policy = LeastOf::choices(4)?;
/// # Ok::<(), micro_balance::InvalidSetting>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct LeastOf {
    choices: u8,
}

impl LeastOf {
    /// Draws `choices` endpoints, 10 at most: more are taken for 10, as gRPC takes them
    /// (<https://github.com/grpc/proposal/blob/master/A48-xds-least-request-lb-policy.md>).
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] where `choices` is under 2.
    pub fn choices(choices: u8) -> Result<Self, InvalidSetting> {
        let error = || InvalidSetting::new("the number of choices", choices, "at least 2");
        (choices >= 2).then_some(Self { choices: choices.min(MOST) }).ok_or_else(error)
    }
}

impl Policy for LeastOf {
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
        let draw = || match table.alias() {
            None => context.chance.below(endpoints.len()),
            Some(alias) => alias.draw(context.chance),
        };
        let mut best = draw();
        for _ in 1..self.choices {
            let next = draw();
            if is_less_busy(endpoints.get(next)?, endpoints.get(best)?) {
                best = next;
            }
        }
        Some(best)
    }
}

/// Looks at every endpoint and takes the one with the fewest requests in flight for its weight, any of them
/// if several are even.
///
/// As even as can be, for the price of a look at all of them: for up to some dozens. Envoy calls it
/// `FULL_SCAN`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastOfAll;

impl Policy for LeastOfAll {
    type Table = ();

    fn table(&self, _: &[Endpoint]) {}

    fn pick(&self, (): &(), endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        let mut best = 0;
        let mut ties = 1;
        for (index, endpoint) in endpoints.iter().enumerate().skip(1) {
            let leader = endpoints.get(best)?;
            if is_less_busy(endpoint, leader) {
                (best, ties) = (index, 1);
            } else if !is_less_busy(leader, endpoint) {
                // Each of those that are even stays with the same chance, in one pass.
                ties += 1;
                if context.chance.below(ties) == 0 {
                    best = index;
                }
            }
        }
        Some(best)
    }
}
