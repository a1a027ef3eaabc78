//! go-micro's `shard`: the order in which it tries endpoints for a key.

use highway::{HighwayHash, HighwayHasher, Key};

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
    let key = Key(HighwayHasher::new(Key::default()).hash256(keys.join(":").as_bytes()));
    let score = |id: &str| HighwayHasher::new(key).hash64(id.as_bytes());
    let mut order: Vec<_> = ids.iter().enumerate().map(|(index, id)| (score(id), index)).collect();
    order.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    order.into_iter().map(|(_, index)| index).collect()
}
