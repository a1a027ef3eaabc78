//! A key stays with the endpoint that scores highest for it.

use xxhash_rust::xxh64::xxh64;

use super::{
    Context, Policy,
    hash_key::{hash_key, spread},
};
use crate::{endpoint::Endpoint, protocol::HashKey};

/// Keeps each key on the endpoint that scores highest for it: each pair of key and endpoint has a score of
/// its own, so an endpoint that goes leaves each of its keys to the second best, and no other key moves.
///
/// Exact shares by weight and next to no memory, at the price of a look at every endpoint for each pick:
/// for up to some hundreds of them. A request that finds its endpoint unable goes to the one with the next
/// score. A request without a [`HashKey`] goes anywhere.
///
/// Endpoints are known by their id, or by a label `hash_key`. Highest random weight: Thaler and
/// Ravishankar, <https://doi.org/10.1109/90.663936>; with weights, Schindelhauer and Schomaker,
/// <https://doi.org/10.1145/1073970.1074008>.
///
/// ```
/// use micro_balance::policy::Rendezvous;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Rendezvous::hash(b"alice"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Rendezvous;

impl Rendezvous {
    /// The hash of a key, by XXH64.
    pub fn hash(key: &[u8]) -> HashKey {
        HashKey(xxh64(key, 0))
    }
}

/// What [`Rendezvous`] scores endpoints by.
#[derive(Clone, Debug)]
pub struct Scores {
    hashes: Box<[u64]>,
    /// Nothing, where weights are alike.
    weights: Option<Box<[f64]>>,
}

impl Scores {
    /// The index whose score comes after those of `skipped` others.
    fn nth(&self, skipped: u32, score: impl Fn(usize) -> f64) -> Option<usize> {
        let mut last = None;
        for _ in 0..=skipped.min(self.hashes.len() as u32 - 1) {
            // Of equal scores the one that stands first is the higher.
            let lower = |&(index, score): &(usize, f64)| {
                last.is_none_or(|(before, limit)| score < limit || (score == limit && index > before))
            };
            let all = (0..self.hashes.len()).map(|index| (index, score(index)));
            last = all.filter(lower).reduce(|best, next| if next.1 > best.1 { next } else { best });
        }
        last.map(|(index, _)| index)
    }
}

impl Policy for Rendezvous {
    type Table = Scores;

    fn table(&self, endpoints: &[Endpoint]) -> Scores {
        let weight = |endpoint: &Endpoint| f64::from(endpoint.attributes().weight);
        let differ = endpoints.windows(2).any(|pair| weight(&pair[0]) != weight(&pair[1]));
        let hash = |endpoint: &Endpoint| xxh64(hash_key(endpoint).as_bytes(), 0);
        Scores {
            hashes: endpoints.iter().map(hash).collect(),
            weights: differ.then(|| endpoints.iter().map(weight).collect()),
        }
    }

    #[inline]
    fn pick(&self, table: &Scores, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        let Some(hash) = context.hash else { return Some(context.chance.below(endpoints.len())) };
        let key = spread(hash);
        let bits = |index: usize| table.hashes.get(index).map_or(0, |&node| spread(node ^ key));
        match &table.weights {
            None if context.attempt == 0 => (0..table.hashes.len()).max_by_key(|&index| bits(index)),
            None => table.nth(context.attempt, |index| (bits(index) >> 11) as f64),
            Some(weights) => table.nth(context.attempt, |index| {
                // Uniform, and neither 0 nor 1.
                let uniform = ((bits(index) >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
                -weights.get(index).copied().unwrap_or(1.0) / uniform.ln()
            }),
        }
    }
}
