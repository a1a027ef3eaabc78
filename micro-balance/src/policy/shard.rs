//! go-micro's `shard`: the order in which it tries endpoints for a key.

use std::sync::Arc;

use highway::{HighwayHash, HighwayHasher, Key};

use super::{Context, Policy};
use crate::endpoint::Endpoint;

/// Keeps the keys of a request on one endpoint as go-micro's `shard` selector does, for programs that must
/// agree with services written with go-micro; [`shard_order`] says how.
///
/// A request says its keys by [`ShardKeys`] in its extensions; one without goes anywhere. One that its
/// endpoint turns down goes to the next in order. A pick looks at every endpoint.
///
/// ```
/// use micro_balance::policy::ShardKeys;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(ShardKeys::new(&["tenant", "17"]));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Shard;

/// The keys of a request, for [`Shard`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardKeys([u64; 4]);

impl ShardKeys {
    /// The keys, in an order that all clients agree on.
    pub fn new(keys: &[&str]) -> Self {
        Self(HighwayHasher::new(Key::default()).hash256(keys.join(":").as_bytes()))
    }

    fn score(&self, id: &str) -> u64 {
        HighwayHasher::new(Key(self.0)).hash64(id.as_bytes())
    }
}

impl Policy for Shard {
    /// The ids, by index.
    type Table = Box<[Arc<str>]>;

    fn table(&self, endpoints: &[Endpoint]) -> Self::Table {
        endpoints.iter().map(|endpoint| endpoint.shared_id().clone()).collect()
    }

    fn pick(&self, ids: &Self::Table, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        let Some(keys) = context.extension::<ShardKeys>() else {
            return Some(context.chance.below(endpoints.len()));
        };
        let mut last = None;
        // The highest score, then the highest of those below it; the first of equals is the higher.
        for _ in 0..=context.attempt.min(ids.len() as u32 - 1) {
            let lower = |score: &(u64, std::cmp::Reverse<usize>)| last.is_none_or(|last| *score < last);
            let scores = ids.iter().enumerate().map(|(index, id)| (keys.score(id), std::cmp::Reverse(index)));
            last = scores.filter(lower).max();
        }
        last.map(|(_, index)| index.0)
    }
}

/// The indexes of `ids` in the order in which go-micro's `shard` selector visits them for these `keys`, for
/// programs that must agree with services written with go-micro.
///
/// The keys, joined by colons, make a key of 256 bits by HighwayHash; with that key each id makes a score;
/// the highest goes first, <https://github.com/micro/go-plugins/tree/master/client/selector/shard>. For
/// programs that agree only with themselves, [`Rendezvous`](super::Rendezvous) does the same in less time.
///
/// ```
/// use micro_balance::policy::shard_order;
///
/// assert_eq!(shard_order(&["b"], &["1", "2", "3"]), [2, 0, 1]);
/// ```
pub fn shard_order(keys: &[&str], ids: &[&str]) -> Vec<usize> {
    let keys = ShardKeys::new(keys);
    let mut order: Vec<_> = ids.iter().enumerate().map(|(index, id)| (keys.score(id), index)).collect();
    order.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    order.into_iter().map(|(_, index)| index).collect()
}
