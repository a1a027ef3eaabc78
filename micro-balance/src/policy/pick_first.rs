//! One endpoint, until it is lost.

use std::{
    collections::{HashSet, VecDeque},
    net::{IpAddr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use super::{Context, Policy, Turns};
use crate::{chance::Chance, endpoint::Endpoint};

/// Sends every request to one endpoint: the first that can be connected, until it is lost.
///
/// Endpoints are tried in the order in which discovery names them, their families of addresses in turn; one
/// that takes more than a quarter of a second, or fails, has the next one tried as well, and the first that
/// is ready is kept. For a server that forwards by itself, or primary and standby of a database. gRPC's
/// pick first with Happy Eyeballs,
/// <https://github.com/grpc/proposal/blob/master/A61-IPv4-IPv6-dualstack-backends.md>.
///
/// ```
/// use micro_balance::policy::PickFirst;
///
/// // Many clients that need not all have the same one.
/// let policy = PickFirst::new().shuffled();
/// ```
#[derive(Debug)]
#[must_use]
pub struct PickFirst {
    delay: Duration,
    shuffle: Option<Chance>,
}

/// The delays that gRPC allows.
const DELAYS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

impl PickFirst {
    /// In the order of discovery, the next after 250 ms.
    pub fn new() -> Self {
        Self { delay: Duration::from_millis(250), shuffle: None }
    }

    /// How long one endpoint is tried before the next is as well; kept within 100 ms and 2 s.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay.clamp(DELAYS.0, DELAYS.1);
        self
    }

    /// In a random order, the heavier the sooner: each stands first as often as its weight says,
    /// <https://github.com/grpc/proposal/blob/master/A113-pick-first-weighted-shuffling.md>.
    pub fn shuffled(self) -> Self {
        self.shuffled_by(fastrand::u64(..))
    }

    /// As [`PickFirst::shuffled`], in an order that `seed` decides.
    pub fn shuffled_by(mut self, seed: u64) -> Self {
        self.shuffle = Some(Chance::new(seed));
        self
    }
}

impl Default for PickFirst {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for PickFirst {
    type Table = ();

    fn table(&self, _: &[Endpoint]) {}

    fn turns(&self, endpoints: &[Endpoint]) -> Option<Turns> {
        let mut order: Vec<_> = (0..endpoints.len()).collect();
        if let Some(chance) = &self.shuffle {
            let mut keys: Vec<_> = endpoints
                .iter()
                .map(|e| chance.fraction().max(f64::MIN_POSITIVE).powf(1.0 / e.weight()))
                .collect();
            order.sort_by(|&a, &b| keys[b].total_cmp(&keys[a]));
            keys.clear();
        }
        let ids: Vec<_> = order.iter().map(|&index| endpoints[index].id()).collect();
        let order = interleaved(&ids).into_iter().map(|place| order[place]).collect();
        Some(Turns { order, delay: self.delay })
    }

    /// Only the one that is connected is there to be picked.
    #[inline]
    fn pick(&self, (): &(), _: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        Some(0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
    Name,
}

impl Family {
    /// By the address; IPv4 in IPv6's form is IPv4, and what is no address a name.
    fn of(address: &str) -> Self {
        let ip = match address.parse() {
            Ok(SocketAddr::V4(address)) => IpAddr::V4(*address.ip()),
            Ok(SocketAddr::V6(address)) => address.ip().to_canonical(),
            Err(_) => match scoped(address) {
                Some(address) => IpAddr::V6(*address.ip()),
                None => return Self::Name,
            },
        };
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// An address with a zone's name, which only the host it was meant for can resolve.
fn scoped(address: &str) -> Option<SocketAddrV6> {
    let (ip, rest) = address.split_once('%')?;
    let (_, port) = rest.split_once(']')?;
    format!("{ip}]{port}").parse().ok()
}

/// The indexes of addresses, each once, families in turn in the order in which they first appear:
/// <https://www.rfc-editor.org/rfc/rfc8305#section-4>.
pub fn interleaved(addresses: &[&str]) -> Vec<usize> {
    let mut seen = HashSet::new();
    let mut families: Vec<(Family, VecDeque<usize>)> = Vec::new();
    for (index, address) in addresses.iter().enumerate().filter(|(_, address)| seen.insert(**address)) {
        let family = Family::of(address);
        match families.iter_mut().find(|(known, _)| *known == family) {
            Some((_, members)) => members.push_back(index),
            None => families.push((family, [index].into())),
        }
    }
    let longest = families.iter().map(|(_, members)| members.len()).max().unwrap_or(0);
    (0..longest)
        .flat_map(|_| families.iter_mut().filter_map(|(_, members)| members.pop_front()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::alike;

    #[test]
    fn the_order_is_that_of_discovery_unless_it_is_shuffled() {
        let endpoints = alike(30, None);
        let order = |policy: PickFirst| policy.turns(&endpoints).unwrap().order;
        let named: Vec<_> = (0..30).collect();
        assert_eq!(order(PickFirst::new()), named);
        // Of thirty it is the same by chance as often as a planet is hit by another.
        let mut shuffled = order(PickFirst::new().shuffled());
        assert_ne!(shuffled, named);
        shuffled.sort_unstable();
        assert_eq!(shuffled, named);
        assert_eq!(order(PickFirst::new().shuffled_by(1)), order(PickFirst::new().shuffled_by(1)));
    }
}
