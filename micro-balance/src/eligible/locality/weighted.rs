//! Zones by weight.

use std::collections::BTreeMap;

use super::{ByZone, Shares};

/// Sends each zone its weight's share, less where too few of its endpoints are well.
///
/// A zone keeps its whole weight while 1 / 1.4 of its endpoints are well. One without a weight gets nothing.
/// Envoy's locality weighted load balancing,
/// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/locality_weight>.
///
/// ```
/// use micro_balance::eligible::locality::ZoneWeights;
///
/// let weights = ZoneWeights::new([("eu-west-1a", 3), ("eu-west-1b", 1)]);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ZoneWeights {
    weights: BTreeMap<String, u32>,
    overprovisioning: u32,
}

impl ZoneWeights {
    /// Weighs zones by name.
    pub fn new<Z: Into<String>>(weights: impl IntoIterator<Item = (Z, u32)>) -> Self {
        let weights = weights.into_iter().map(|(zone, weight)| (zone.into(), weight)).collect();
        Self { weights, overprovisioning: 140 }
    }

    /// How many percent of what is needed a zone is taken to have; 140 unless given.
    pub fn overprovisioning(mut self, percent: u32) -> Self {
        self.overprovisioning = percent.max(1);
        self
    }

    pub(super) fn part(&self, zones: &ByZone) -> Option<Shares> {
        let share = |(name, zone): (&String, &super::Zone)| {
            let weight = *self.weights.get(name)?;
            let healthy = zone.members.len() as u32;
            let share = (effective_weight(weight, healthy, zone.hosts, self.overprovisioning) * 1e6) as u64;
            (share > 0).then(|| (share, zone.members.clone()))
        };
        Some(zones.iter().filter_map(share).collect()).filter(|shares: &Shares| !shares.is_empty())
    }
}

/// The weight of a zone of which `healthy` of `hosts` are well.
pub fn effective_weight(weight: u32, healthy: u32, hosts: u32, overprovisioning: u32) -> f64 {
    if hosts == 0 {
        return 0.0;
    }
    let well = f64::from(overprovisioning) / 100.0 * f64::from(healthy) / f64::from(hosts);
    f64::from(weight) * well.min(1.0)
}
