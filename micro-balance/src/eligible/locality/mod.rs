//! Where requests go, by zone.

mod prefer;
mod weighted;
mod zone_aware;

pub use self::{
    prefer::Prefer,
    weighted::{ZoneWeights, effective_weight},
    zone_aware::{Route, ZoneAware, Zones},
};

/// How the endpoints of one priority are parted by zone.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Locality {
    /// Not at all; the default.
    #[default]
    Any,
    /// One zone as long as enough of it is well. What most users want.
    Prefer(Prefer),
    /// Zones by weight, a zone that is not well by less.
    Weighted(ZoneWeights),
    /// The own zone, and of others only what evens out load: for a client that has as many peers.
    ZoneAware(ZoneAware),
}

/// How many endpoints a zone has, and who of them may be picked.
#[derive(Clone, Debug, Default)]
pub(super) struct Zone {
    pub(super) hosts: u32,
    pub(super) members: Vec<usize>,
}

/// Zones by name; those of endpoints without one are under `""`.
pub(super) type ByZone = std::collections::BTreeMap<String, Zone>;

/// Members, and how often they are chosen relative to others.
pub(super) type Shares = Vec<(u64, Vec<usize>)>;

impl Locality {
    /// Parts `zones`; `None` where the rule cannot be kept. There is no telling zones apart in panic.
    pub(super) fn part(&self, zones: &ByZone, panic: bool) -> Option<Shares> {
        match self {
            Self::Any => None,
            _ if panic => None,
            Self::Prefer(prefer) => prefer.part(zones),
            Self::Weighted(weights) => weights.part(zones),
            Self::ZoneAware(zone_aware) => zone_aware.part(zones),
        }
    }

    pub(super) fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }
}

#[cfg(test)]
mod tests;
