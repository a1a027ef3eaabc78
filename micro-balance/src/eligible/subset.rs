//! A part of all endpoints for each client.

use xxhash_rust::xxh64::xxh64;

use crate::chance::Chance;

/// Lets a client use some of many endpoints: fewer connections at either end.
///
/// The endpoints that are left out are not connected. [`Subset::random`] needs no agreement between clients;
/// [`Subset::deterministic`] loads servers more evenly, if clients are numbered. For both, a policy that
/// measures load needs some endpoints to choose from: not fewer than twenty, where there are as many.
///
/// ```
/// use micro_balance::eligible::Subset;
///
/// let subset = Subset::random(2).seed(7);
/// assert_eq!(subset.choose(&["a", "b"]), [0, 1]);
/// assert_eq!(subset.choose(&["a", "b", "c", "d"]).len(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Subset {
    size: usize,
    rule: Rule,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Random { seed: u64, go: bool },
    Deterministic { client: u64 },
}

impl Subset {
    /// Any `size` endpoints, at least one, and nearly the same ones after any change: one that comes or goes
    /// changes one member at most. Each client has a seed of its own, drawn here unless given.
    ///
    /// Those whose XXH64 with the seed is lowest: gRPC's random subsetting,
    /// <https://github.com/grpc/proposal/blob/master/A68-random-subsetting.md>.
    pub fn random(size: usize) -> Self {
        Self { size: size.max(1), rule: Rule::Random { seed: fastrand::u64(..), go: false } }
    }

    /// `size` endpoints, at least one, for client number `client`, counted from 0 without gaps: each round
    /// of clients shares out all endpoints, so that they have as many clients each as can be. A change of
    /// the set changes most members.
    ///
    /// After <https://sre.google/sre-book/load-balancing-datacenter/>.
    pub fn deterministic(size: usize, client: u64) -> Self {
        Self { size: size.max(1), rule: Rule::Deterministic { client } }
    }

    /// Draws by this seed. A deterministic subset has none.
    pub fn seed(mut self, new: u64) -> Self {
        if let Rule::Random { seed, .. } = &mut self.rule {
            *seed = new;
        }
        self
    }

    /// Hashes what gRPC for Go prints for an address, in place of the address: the same subset as a client
    /// in Go of the same seed has.
    pub fn as_grpc_go(mut self) -> Self {
        if let Rule::Random { go, .. } = &mut self.rule {
            *go = true;
        }
        self
    }

    /// The indexes of the members, in ascending order; `ids` are in an order that all clients agree on.
    pub fn choose(&self, ids: &[&str]) -> Vec<usize> {
        if ids.len() <= self.size {
            return (0..ids.len()).collect();
        }
        let mut members = match self.rule {
            Rule::Random { seed, go } => self.lowest(ids, seed, go),
            Rule::Deterministic { client } => self.slice(ids.len(), client),
        };
        members.sort_unstable();
        members
    }

    fn lowest(&self, ids: &[&str], seed: u64, go: bool) -> Vec<usize> {
        let hash = |id: &str| match go {
            false => xxh64(id.as_bytes(), seed),
            true => xxh64(format!("{{Addr: {id:?}, ServerName: \"\", }}").as_bytes(), seed),
        };
        let mut scores: Vec<_> = ids.iter().enumerate().map(|(index, id)| (hash(id), index)).collect();
        scores.sort_unstable();
        scores.into_iter().take(self.size).map(|(_, index)| index).collect()
    }

    fn slice(&self, count: usize, client: u64) -> Vec<usize> {
        let slices = (count / self.size) as u64;
        let (round, slice) = (client / slices, (client % slices) as usize);
        // Those that fit into no slice are others in every round.
        let spare = count % self.size;
        let first = (round % count as u64) as usize * spare + spare;
        let mut order: Vec<_> = (first..first + count - spare).map(|place| place % count).collect();
        // Every client of a round shuffles alike.
        let chance = Chance::new(round);
        for last in (1..order.len()).rev() {
            order.swap(last, chance.below(last + 1));
        }
        order.into_iter().skip(slice * self.size).take(self.size).collect()
    }
}
