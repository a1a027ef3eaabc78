//! Endpoints with a label before those without.

use super::{Context, Policy};
use crate::endpoint::Endpoint;

/// Prefers endpoints by their labels: the first of the most preferred takes every request, and the next in
/// order takes those it could not. Primary and backups, not a balance of load.
///
/// go-micro's `label` selector, <https://github.com/micro/go-plugins/tree/master/client/selector/label>:
/// those with the first label stand first, then those with the second, and so on; those with none stand last.
///
/// ```
/// use micro_balance::policy::LabelOrder;
///
/// let policy = LabelOrder::new().then("disk", "ssd").then("disk", "hdd");
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct LabelOrder {
    labels: Vec<(String, String)>,
}

impl LabelOrder {
    /// Prefers none to another.
    pub fn new() -> Self {
        Self::default()
    }

    /// Prefers endpoints whose label `key` is `value`, after those preferred already.
    pub fn then(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }

    fn rank(&self, endpoint: &Endpoint) -> usize {
        let metadata = &endpoint.attributes().metadata;
        let has = |(key, value): &(String, String)| metadata.get(key) == Some(value);
        self.labels.iter().position(has).unwrap_or(self.labels.len())
    }
}

impl Policy for LabelOrder {
    /// The indexes in order.
    type Table = Box<[usize]>;

    fn table(&self, endpoints: &[Endpoint]) -> Box<[usize]> {
        let mut order: Vec<_> = (0..endpoints.len()).collect();
        // Stable: the order of ids holds among equals.
        order.sort_by_cached_key(|&index| endpoints.get(index).map(|endpoint| self.rank(endpoint)));
        order.into()
    }

    #[inline]
    fn pick(&self, order: &Box<[usize]>, _: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        order.get((context.attempt as usize).checked_rem(order.len())?).copied()
    }
}
