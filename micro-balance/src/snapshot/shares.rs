//! How requests are shared between groups of endpoints.

/// How requests are shared between groups: running sums.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shares(Box<[u64]>);

impl Shares {
    pub(crate) fn new(shares: impl Iterator<Item = u64>) -> Self {
        let mut sum = 0_u64;
        Self(
            shares
                .map(|share| {
                    sum = sum.saturating_add(share);
                    sum
                })
                .collect(),
        )
    }

    /// The group that any number falls to.
    pub(super) fn at(&self, draw: u64) -> usize {
        let total = self.0.last().copied().unwrap_or(1);
        let place = ((u128::from(draw) * u128::from(total)) >> 64) as u64;
        self.0.iter().position(|&end| place < end).unwrap_or(0)
    }
}
