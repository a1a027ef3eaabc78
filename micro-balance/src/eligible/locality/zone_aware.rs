//! The own zone, and of others only what evens out load.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{ByZone, Shares};

/// How many there are of something in each zone.
pub type Zones = BTreeMap<String, u32>;

/// Keeps requests in the client's own zone as far as every endpoint can still get the same.
///
/// It takes to know how many clients like this one are in which zone: where the own zone has as large a part
/// of the endpoints as of the clients, every request stays; otherwise as many as fit, and the rest goes to
/// zones that have more endpoints than clients. Envoy's zone aware routing,
/// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/zone_aware>.
///
/// It takes clients and endpoints in at least two zones each, and six endpoints.
#[derive(Clone)]
#[must_use]
pub struct ZoneAware {
    zone: String,
    peers: Arc<dyn Fn() -> Zones + Send + Sync>,
    least: usize,
    force_local: Option<u32>,
    percent: u32,
}

impl ZoneAware {
    /// For a client in `zone` among `peers`, itself included.
    pub fn new(zone: impl Into<String>, peers: Zones) -> Self {
        Self::watching(zone, move || peers.clone())
    }

    /// Asks for the peers whenever the set changes, off the request path.
    pub fn watching(zone: impl Into<String>, peers: impl Fn() -> Zones + Send + Sync + 'static) -> Self {
        Self { zone: zone.into(), peers: Arc::new(peers), least: 6, force_local: None, percent: 100 }
    }

    /// Takes no notice of zones with fewer than `endpoints`; 6 unless given.
    pub fn least(mut self, endpoints: usize) -> Self {
        self.least = endpoints;
        self
    }

    /// Keeps every request in the own zone where it has at least `endpoints`, whatever others get.
    pub fn force_local(mut self, endpoints: u32) -> Self {
        self.force_local = Some(endpoints);
        self
    }

    /// Minds zones for `percent` of the requests; the others go to any endpoint. 100 unless given. Envoy's `routing_enabled`,
    /// to try it with a few.
    pub fn percent(mut self, percent: u32) -> Self {
        self.percent = percent;
        self
    }

    /// The rule for these endpoints; `None` where there are too few, or no peers in the own zone or in none beside it.
    pub fn route(&self, endpoints: &Zones) -> Option<Route> {
        let peers = (self.peers)();
        let total: u64 = endpoints.values().map(|&count| u64::from(count)).sum();
        let parted = |counts: &Zones| counts.values().filter(|&&count| count > 0).count() >= 2;
        let known = peers.get(&self.zone).is_some_and(|&count| count > 0);
        if !known || !parted(&peers) || !parted(endpoints) || total < self.least as u64 {
            return None;
        }
        let local = endpoints.get(&self.zone).copied().unwrap_or(0);
        if self.force_local.is_some_and(|least| local >= least.max(1)) {
            return Some(Route { local: WHOLE, residual: Vec::new() });
        }
        Some(Route::new(&self.zone, &peers, endpoints))
    }

    pub(super) fn part(&self, zones: &ByZone) -> Option<Shares> {
        let counts = zones.iter().map(|(name, zone)| (name.clone(), zone.members.len() as u32)).collect();
        let route = self.route(&counts)?;
        let total = route.residual.last().map_or(1, |&(_, end)| end);
        let mut shares = vec![(self.zone.as_str(), route.local * total)];
        let mut start = 0;
        for (name, end) in &route.residual {
            shares.push((name, (WHOLE - route.local) * (end - start)));
            start = *end;
        }
        if self.percent < 100 {
            shares = self.mixed(&shares, WHOLE * total, zones);
        }
        let members = |name: &str| zones.get(name).map(|zone| zone.members.clone()).unwrap_or_default();
        let mut shares: Shares = shares.into_iter().map(|(name, share)| (share, members(name))).collect();
        shares.retain(|(share, members)| *share > 0 && !members.is_empty());
        Some(shares).filter(|shares| !shares.is_empty())
    }

    /// These shares, `whole` together, of a part of the requests; of the others each zone has what it has of the endpoints.
    fn mixed<'a>(&self, shares: &[(&'a str, u64)], whole: u64, zones: &'a ByZone) -> Vec<(&'a str, u64)> {
        let endpoints: usize = zones.values().map(|zone| zone.members.len()).sum();
        let part = f64::from(self.percent) / 100.0;
        let mix = |(name, zone): (&'a String, &super::Zone)| {
            let routed: u64 = shares.iter().filter(|(of, _)| of == name).map(|&(_, share)| share).sum();
            let any = zone.members.len() as f64 / endpoints.max(1) as f64 * whole as f64;
            (name.as_str(), (routed as f64 * part + any * (1.0 - part)).round() as u64)
        };
        zones.iter().map(mix).collect()
    }
}

/// All of something, in the unit of [`Route`].
const WHOLE: u64 = 10_000;

/// Which part of the requests stays, and where the others go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// How many of 10 000 requests stay in the own zone.
    pub local: u64,
    /// The zones for the others, each with the sum of its own share and of those before it.
    pub residual: Vec<(String, u64)>,
}

impl Route {
    fn new(zone: &str, peers: &Zones, endpoints: &Zones) -> Self {
        let part = |counts: &Zones, zone: &str| {
            let total: u64 = counts.values().map(|&count| u64::from(count)).sum();
            let count = counts.get(zone).copied().unwrap_or(0);
            (WHOLE * u64::from(count)).checked_div(total).unwrap_or(0)
        };
        let (own_peers, own) = (part(peers, zone), part(endpoints, zone));
        if own >= own_peers {
            return Self { local: WHOLE, residual: Vec::new() };
        }
        let local = (WHOLE * own).checked_div(own_peers).unwrap_or(0);
        let room = |name: &String| match name == zone {
            true => 0,
            false => part(endpoints, name).saturating_sub(part(peers, name)),
        };
        let mut residual = running(endpoints.keys().map(|name| (name.clone(), room(name))));
        if residual.is_empty() {
            // No zone has room to spare, by rounding: any zone.
            residual = running(endpoints.iter().map(|(name, &count)| (name.clone(), count.min(1).into())));
        }
        Self { local, residual }
    }

    /// The zone that `draw`, any number, falls to among those for requests that do not stay.
    pub fn residual(&self, draw: u64) -> Option<&str> {
        let draw = draw.checked_rem(self.residual.last()?.1)?;
        let (zone, _) = self.residual.iter().find(|(_, end)| draw < *end)?;
        Some(zone)
    }
}

/// Those with a share, with running sums in place of shares.
fn running(shares: impl Iterator<Item = (String, u64)>) -> Vec<(String, u64)> {
    let mut sum = 0;
    let mut add = |(name, share): (String, u64)| {
        sum += share;
        (share > 0).then_some((name, sum))
    };
    shares.filter_map(&mut add).collect()
}

impl fmt::Debug for ZoneAware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZoneAware")
            .field("zone", &self.zone)
            .field("least", &self.least)
            .finish_non_exhaustive()
    }
}
