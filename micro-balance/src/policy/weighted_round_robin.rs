//! Each endpoint in turn, in proportion to its weight, by one counter.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{Context, Policy};
use crate::endpoint::Endpoint;

/// The weight that the largest is scaled to.
const MAX: u64 = u16::MAX as u64;
/// How far apart neighbours start in the cycle, so that they do not come in bursts.
const OFFSET: u64 = MAX / 2;

/// Each endpoint in turn, as often as its weight says, by one counter that all clones of the balancer share.
///
/// gRPC's static stride scheduler, <https://github.com/grpc/proposal/blob/master/A58-client-side-weighted-round-robin-lb-policy.md>:
/// no lock and no queue, so it is as fast as [`RoundRobin`](super::RoundRobin) from several threads, and within
/// 2 in 100 picks of the exact shares. Where weights are alike it *is* round robin.
///
/// ```
/// use micro_balance::policy::WeightedRoundRobin;
///
/// let by_weight = WeightedRoundRobin::new();
/// // Or by what the endpoints say of themselves:
/// let by_cores = WeightedRoundRobin::new().weigh(|endpoint| {
///     endpoint.attributes().metadata.get("cores").and_then(|cores| cores.parse().ok()).unwrap_or(0.0)
/// });
/// ```
#[must_use]
pub struct WeightedRoundRobin {
    sequence: AtomicU64,
    weigh: Option<Box<Weigh>>,
    clamped: bool,
}

type Weigh = dyn Fn(&Endpoint) -> f64 + Send + Sync;

impl WeightedRoundRobin {
    /// Starts anywhere.
    pub fn new() -> Self {
        Self::starting_at(fastrand::u32(..))
    }

    /// Starts at number `start` of the sequence, for picks that can be foretold.
    pub fn starting_at(start: u32) -> Self {
        Self { sequence: AtomicU64::new(start.into()), weigh: None, clamped: false }
    }

    /// Weighs endpoints by `weigh` whenever the set changes, in place of their configured weight.
    ///
    /// An endpoint of weight 0, less, or no number at all counts as the mean of the others.
    pub fn weigh(mut self, weigh: impl Fn(&Endpoint) -> f64 + Send + Sync + 'static) -> Self {
        self.weigh = Some(Box::new(weigh));
        self
    }

    /// Keeps weights within a hundredth and ten times their mean, as gRPC's C++ does: good for weights that
    /// are measured, not for those that are meant.
    pub fn clamped(mut self) -> Self {
        self.clamped = true;
        self
    }
}

impl Default for WeightedRoundRobin {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WeightedRoundRobin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeightedRoundRobin").field("clamped", &self.clamped).finish_non_exhaustive()
    }
}

/// The weights of [`WeightedRoundRobin`], scaled; nothing where they are alike.
#[derive(Clone, Debug)]
pub struct Strides(Option<Box<[u16]>>);

impl Strides {
    pub(super) fn new(weights: &[f64], clamped: bool) -> Self {
        let measured = || weights.iter().copied().filter(|weight| weight.is_finite() && *weight > 0.0);
        let count = measured().count();
        if count == 0 {
            return Self(None);
        }
        let mean = measured().sum::<f64>() / count as f64;
        let largest = measured().fold(0.0, f64::max);
        let scale = MAX as f64 / if clamped { largest.min(mean * 10.0) } else { largest };
        let mean = (mean * scale).round();
        let least = if clamped { (mean * 0.01).round().max(1.0) } else { 1.0 };
        let strides: Box<[u16]> = weights
            .iter()
            .map(|&weight| {
                let known = weight.is_finite() && weight > 0.0;
                let scaled = if known { (weight * scale).round() } else { mean };
                scaled.clamp(least, MAX as f64) as u16
            })
            .collect();
        let differ = strides.windows(2).any(|pair| pair[0] != pair[1]);
        Self(differ.then_some(strides))
    }
}

impl Policy for WeightedRoundRobin {
    type Table = Strides;

    fn table(&self, endpoints: &[Endpoint]) -> Strides {
        let weigh = |endpoint: &Endpoint| match &self.weigh {
            Some(weigh) => weigh(endpoint),
            None => endpoint.weight(),
        };
        Strides::new(&endpoints.iter().map(weigh).collect::<Vec<_>>(), self.clamped)
    }

    #[inline]
    fn pick(&self, table: &Strides, endpoints: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        let count = endpoints.len() as u64;
        let Some(strides) = &table.0 else {
            return self.sequence.fetch_add(1, Relaxed).checked_rem(count).map(|index| index as usize);
        };
        // An endpoint of the largest weight is never passed over, so a turn or less finds one.
        loop {
            let sequence = self.sequence.fetch_add(1, Relaxed);
            let (index, generation) = (sequence.checked_rem(count)?, sequence / count);
            let stride = u64::from(*strides.get(index as usize)?);
            if (stride.wrapping_mul(generation) + index * OFFSET) % MAX >= MAX - stride {
                return Some(index as usize);
            }
        }
    }
}
