//! Endpoints as a policy gets them, with requests in flight as a test wants them.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{Pending, Ready, pending, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context as Task, Poll},
    time::Duration,
};

use futures_util::future::Either;
use micro_balance::{
    Attributes, Balance, Chance, Endpoint, Opaque,
    policy::{Context, Policy},
};
use serde_json::Value;
use tokio::time::sleep;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::{Service, ServiceExt, discover::Change};

/// A service that never answers `true`.
#[derive(Clone, Debug)]
struct Silent;

impl Service<bool> for Silent {
    type Response = ();
    type Error = Infallible;
    type Future = Either<Pending<Result<(), Infallible>>, Ready<Result<(), Infallible>>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, never: bool) -> Self::Future {
        if never { Either::Left(pending()) } else { Either::Right(ready(Ok(()))) }
    }
}

/// Hands out the endpoints it is shown, and picks the one it is told to.
#[derive(Clone, Default)]
struct Spy {
    seen: Arc<Mutex<Vec<Endpoint>>>,
    next: Arc<AtomicUsize>,
}

impl Policy for Spy {
    type Table = ();

    fn table(&self, endpoints: &[Endpoint]) {
        *self.seen.lock().unwrap() = endpoints.to_vec();
    }

    fn pick(&self, (): &(), _: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        Some(self.next.load(Relaxed))
    }
}

/// Endpoints and the balancer they belong to.
pub(crate) struct Set {
    pub(crate) endpoints: Vec<Endpoint>,
    balance: Balance<Silent, bool, Spy, Opaque>,
    next: Arc<AtomicUsize>,
    held: Vec<tokio::task::JoinHandle<()>>,
    calls: Vec<<Balance<Silent, bool, Spy, Opaque> as Service<bool>>::Future>,
    _hand: Box<dyn std::any::Any>,
}

/// Ids with their attributes.
pub(crate) type Described = Vec<(String, Attributes)>;

impl Set {
    pub(crate) async fn described(endpoints: Described) -> Self {
        let (hand, changes) = tokio::sync::mpsc::unbounded_channel();
        let count = endpoints.len();
        for (id, _) in &endpoints {
            hand.send(Ok::<_, Infallible>(Change::Insert(id.clone(), Silent))).unwrap();
        }
        let attributes: BTreeMap<_, _> = endpoints.into_iter().collect();
        let spy = Spy::default();
        let balance = Balance::builder(UnboundedReceiverStream::new(changes))
            .policy(spy.clone())
            .attributes(move |id: &String, _: &Silent| attributes[id].clone())
            .build();
        sleep(Duration::from_millis(50)).await;
        let endpoints = spy.seen.lock().unwrap().clone();
        assert_eq!(endpoints.len(), count);
        Self {
            endpoints,
            balance,
            next: spy.next,
            held: Vec::new(),
            calls: Vec::new(),
            _hand: Box::new(hand),
        }
    }

    /// Endpoints of these weights, in this order.
    pub(crate) async fn weighing(weights: &[u32]) -> Self {
        let name = |(index, &weight)| (format!("{index:05}"), Attributes { weight, ..Attributes::default() });
        Self::described(weights.iter().enumerate().map(name).collect()).await
    }

    /// Endpoints with these ids, which are in order.
    pub(crate) async fn named<I: Into<String>>(ids: impl IntoIterator<Item = I>) -> Self {
        Self::described(ids.into_iter().map(|id| (id.into(), Attributes::default())).collect()).await
    }

    /// Starts `count` requests at endpoint `index` that do not end.
    pub(crate) async fn load(&mut self, index: usize, count: usize) {
        self.next.store(index, Relaxed);
        for _ in 0..count {
            let request = self.balance.clone().oneshot(true);
            self.held.push(tokio::spawn(async move { drop(request.await) }));
        }
        sleep(Duration::from_millis(1)).await;
    }

    /// Starts a request at endpoint `index` that nobody waits for.
    pub(crate) fn hold(&mut self, index: usize) {
        self.next.store(index, Relaxed);
        self.calls.push(self.balance.call(true));
    }

    /// The first `count` picks of `policy`.
    pub(crate) fn picks<P: Policy>(&self, policy: &P, count: usize) -> Vec<usize> {
        let chance = Chance::new(7);
        let table = policy.table(&self.endpoints);
        let pick = |_| policy.pick(&table, &self.endpoints, &Context::new(&chance)).unwrap();
        (0..count).map(pick).collect()
    }

    /// How often each is in the first `count` picks of `policy`.
    pub(crate) fn shares<P: Policy>(&self, policy: &P, count: usize) -> Vec<usize> {
        let mut shares = vec![0; self.endpoints.len()];
        self.picks(policy, count).into_iter().for_each(|index| shares[index] += 1);
        shares
    }

    /// What `policy` picks for `hash`, when `attempt` picks were turned down.
    pub(crate) fn pick<P: Policy>(&self, policy: &P, table: &P::Table, hash: u64, attempt: u32) -> usize {
        let chance = Chance::new(7);
        let mut context = Context::new(&chance);
        (context.hash, context.attempt) = (Some(hash), attempt);
        policy.pick(table, &self.endpoints, &context).unwrap()
    }
}

/// The numbers of a JSON list.
pub(crate) fn numbers<T: TryFrom<u64>>(list: &Value) -> Vec<T>
where
    T::Error: std::fmt::Debug,
{
    list.as_array().unwrap().iter().map(|n| T::try_from(n.as_u64().unwrap()).unwrap()).collect()
}
