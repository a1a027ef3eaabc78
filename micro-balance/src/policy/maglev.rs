//! A key stays with its endpoint, found by one look-up.

use std::sync::Arc;

use xxhash_rust::xxh64::xxh64;

use super::{Context, Policy, Turnover, hash_key::hash_key, relief};
use crate::{endpoint::Endpoint, protocol::HashKey, setting::InvalidSetting};

/// Keeps each key on one endpoint by a table that all endpoints share as evenly as can be.
///
/// The fastest to pick and the most even of the policies that hash: slots of equal weights differ by one at
/// most. A change of the set moves, beside the keys it must, less than one in a hundred of the others. The
/// table is the one Envoy makes. A request without a [`HashKey`] goes anywhere.
///
/// Endpoints are known by their id, or by a label `hash_key`. Maglev: a fast and reliable software network
/// load balancer, <https://research.google/pubs/pub44824/>.
///
/// ```
/// use micro_balance::policy::Maglev;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Maglev::hash(b"alice"));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Maglev {
    size: u64,
    bound: Option<f64>,
}

impl Maglev {
    /// A table of 65 537 slots: 256 KiB, and even for up to some hundreds of endpoints.
    pub fn new() -> Self {
        Self { size: 65_537, bound: None }
    }

    /// A table of `size` slots. A hundred for each endpoint keep shares within a hundredth; with fewer slots
    /// than endpoints, some get no request that has a key.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] unless `size` is a prime of at most 5 000 011.
    pub fn with_size(size: u64) -> Result<Self, InvalidSetting> {
        let prime = size >= 2 && (2..).take_while(|n| n * n <= size).all(|n| !size.is_multiple_of(n));
        let error = || InvalidSetting::new("the size of the table", size, "a prime of at most 5000011");
        (prime && size <= 5_000_011).then_some(Self { size, bound: None }).ok_or_else(error)
    }

    /// Passes over an endpoint that has more than `bound` times its share of the requests in flight, by weight; at least
    /// 1.0. Whom Envoy gives the request to takes it: its `hash_balance_factor` is this in percent. A pick then adds up the
    /// requests of all endpoints, unless the first choice is idle.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] when `bound` is below 1 or no number.
    pub fn bounded(mut self, bound: f64) -> Result<Self, InvalidSetting> {
        self.bound = Some(relief::bound(bound)?);
        Ok(self)
    }

    /// The hash of a key, by XXH64 as Envoy's.
    pub fn hash(key: &[u8]) -> HashKey {
        HashKey(xxh64(key, 0))
    }
}

impl Default for Maglev {
    fn default() -> Self {
        Self::new()
    }
}

/// Who has which slot of [`Maglev`].
#[derive(Clone, Debug, Default)]
pub struct Slots {
    slots: Arc<[u32]>,
    /// Of all endpoints.
    weight: f64,
}

/// An endpoint that claims slots in an order of its own.
struct Claimant {
    slot: u64,
    skip: u64,
    weight: u64,
    /// It is passed over until its turns make up for this.
    due: u64,
}

impl Policy for Maglev {
    type Table = Slots;

    fn table(&self, endpoints: &[Endpoint]) -> Slots {
        if endpoints.is_empty() {
            return Slots::default();
        }
        let claimant = |endpoint: &Endpoint| {
            let key = hash_key(endpoint).as_bytes();
            let skip = xxh64(key, 1) % (self.size - 1) + 1;
            let weight = u64::from(endpoint.attributes().weight.max(1));
            Claimant { slot: xxh64(key, 0) % self.size, skip, weight, due: 0 }
        };
        let mut claimants: Vec<_> = endpoints.iter().map(claimant).collect();
        let largest = claimants.iter().map(|claimant| claimant.weight).max().unwrap_or(1);
        let made = |slots: Vec<u32>| Slots { slots: slots.into(), weight: relief::weight(endpoints) };
        let mut slots = vec![0; self.size as usize];
        let mut taken = vec![0_u64; slots.len().div_ceil(64)];
        let mut free = slots.len();
        for turn in 1.. {
            for (index, claimant) in claimants.iter_mut().enumerate() {
                if turn * claimant.weight < claimant.due {
                    continue;
                }
                claimant.due += largest;
                while taken[(claimant.slot / 64) as usize] >> (claimant.slot % 64) & 1 == 1 {
                    claimant.slot += claimant.skip;
                    if claimant.slot >= self.size {
                        claimant.slot -= self.size;
                    }
                }
                taken[(claimant.slot / 64) as usize] |= 1 << (claimant.slot % 64);
                slots[claimant.slot as usize] = index as u32;
                free -= 1;
                if free == 0 {
                    return made(slots);
                }
            }
        }
        made(slots)
    }

    fn update(&self, before: &Slots, turnover: &Turnover<'_>) -> Option<Slots> {
        turnover.is_none().then(|| before.clone())
    }

    #[inline]
    fn pick(&self, table: &Slots, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        let mut hash = context.hash.unwrap_or_else(|| context.chance.next());
        if context.attempt > 0 {
            // Envoy's rule for another slot that each key finds again.
            hash ^= u64::MAX - u64::from(context.attempt) + 1;
        }
        let slot = hash.checked_rem(table.slots.len() as u64)?;
        let first = *table.slots.get(slot as usize)? as usize;
        match self.bound {
            Some(bound) if context.attempt == 0 && endpoints.get(first)?.in_flight() > 0 => {
                Some(relief::as_envoy(endpoints, table.weight, hash, first, bound))
            }
            _ => Some(first),
        }
    }
}
