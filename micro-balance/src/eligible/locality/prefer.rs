//! One zone, while it can.

use super::{ByZone, Shares};

/// Sends all requests to one zone while enough of its endpoints are well, and to all zones after that.
///
/// ```
/// use micro_balance::eligible::locality::Prefer;
///
/// let nearby = Prefer::new("eu-west-1a").while_percent(70);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Prefer {
    zone: String,
    percent: u32,
}

impl Prefer {
    /// Prefers `zone` while at least half of its endpoints are well.
    pub fn new(zone: impl Into<String>) -> Self {
        Self { zone: zone.into(), percent: 50 }
    }

    /// Widens when fewer than `percent` of the zone's endpoints are well; 50 unless given.
    pub fn while_percent(mut self, percent: u32) -> Self {
        self.percent = percent.min(100);
        self
    }

    pub(super) fn part(&self, zones: &ByZone) -> Option<Shares> {
        let zone = zones.get(&self.zone).filter(|zone| !zone.members.is_empty())?;
        let well = zone.members.len() as u64 * 100 >= u64::from(zone.hosts) * u64::from(self.percent);
        well.then(|| vec![(1, zone.members.clone())])
    }
}
