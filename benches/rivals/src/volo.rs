//! volo's load balancing.

use std::{hint::black_box, net::SocketAddr, sync::Arc};

use async_broadcast::Receiver;
use futures_util::FutureExt as _;
use volo::{
    FastStr,
    context::Endpoint,
    discovery::{Change, Discover, Instance},
    loadbalance::{
        LoadBalance, RequestHash,
        consistent_hash::{ConsistentHashBalance, ConsistentHashOption},
        error::LoadBalanceError,
        random::WeightedRandomBalance,
    },
    net::Address,
};

use crate::{BoxError, Case, address, key};

/// Discovers what it was given.
#[derive(Debug)]
struct Given(Vec<Arc<Instance>>);

impl Discover for Given {
    type Key = ();
    type Error = LoadBalanceError;

    async fn discover<'s>(&'s self, _: &'s Endpoint) -> Result<Vec<Arc<Instance>>, LoadBalanceError> {
        Ok(self.0.clone())
    }

    fn key(&self, _: &Endpoint) {}

    fn watch(&self, _: Option<&[()]>) -> Option<Receiver<Change<()>>> {
        None
    }
}

/// Every case, over `count` instances.
pub(crate) async fn cases(count: usize) -> Result<Vec<Case>, BoxError> {
    let (random, hash) =
        (WeightedRandomBalance::new(), ConsistentHashBalance::new(ConsistentHashOption::default()));
    let (first, second) = (given(count)?, given(count)?);
    let endpoint = || Endpoint::new(FastStr::from_static_str("bench"));
    let (at_random, by_hash) = (endpoint(), endpoint());
    Ok(vec![
        Case::picks("volo WeightedRandom", "pick", move |_| {
            black_box(next(&random, &at_random, &first));
        }),
        Case::picks("volo ConsistentHash", "consistent pick", move |number| {
            let pick = || {
                metainfo::METAINFO.with(|info| info.borrow_mut().insert(RequestHash(key(number))));
                next(&hash, &by_hash, &second)
            };
            black_box(metainfo::METAINFO.sync_scope(Default::default(), pick));
        }),
    ])
}

/// The first instance of a picker; its future is ready at once, as its instances are given.
fn next<L: LoadBalance<Given>>(balance: &L, endpoint: &Endpoint, given: &Given) -> Option<Address> {
    let picker = std::pin::pin!(balance.get_picker(endpoint, given)).now_or_never()?;
    picker.ok()?.next()
}

fn given(count: usize) -> Result<Given, BoxError> {
    let instance = |number| -> Result<Arc<Instance>, BoxError> {
        let address: SocketAddr = address(number).parse()?;
        Ok(Arc::new(Instance { address: Address::from(address), weight: 1, tags: Default::default() }))
    };
    (0..count).map(instance).collect::<Result<_, _>>().map(Given)
}
