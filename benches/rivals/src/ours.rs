//! Our balancer.

use std::{convert::Infallible, hint::black_box, time::Duration};

use micro_balance::{
    Balance, HashKey,
    policy::{Maglev, Policy, Random, RingHash, RoundRobin},
};
use tokio::{sync::mpsc, time::sleep};
use tower::discover::Change;

use crate::{BoxError, Case, address, cpu, key, mock::Mock};

type Hand = mpsc::UnboundedSender<Result<Change<String, Mock>, Infallible>>;

/// Every case, over `count` endpoints that are ready.
pub(crate) async fn cases(count: usize) -> Result<Vec<Case>, BoxError> {
    Ok(vec![
        plain("ours RoundRobin", RoundRobin::starting_at(0), count).await?,
        plain("ours Random", Random, count).await?,
        keyed("ours RingHash", RingHash::new(), count).await?,
        keyed("ours Maglev", Maglev::new(), count).await?,
        change("ours RoundRobin", RoundRobin::starting_at(0), count).await?,
        change("ours RingHash", RingHash::new(), count).await?,
        change("ours Maglev", Maglev::new(), count).await?,
    ])
}

/// Picks of what the caller may keep, as pingora's are.
async fn plain<P: Policy>(name: &'static str, policy: P, count: usize) -> Result<Case, BoxError> {
    let (mut balance, hand) = balance(policy, count).await?;
    Ok(Case::picks(name, "pick", move |_| {
        let _ = &hand;
        black_box(balance.pick(None).map(|(endpoint, service)| (endpoint.clone(), *service)));
    }))
}

async fn keyed<P: Policy>(name: &'static str, policy: P, count: usize) -> Result<Case, BoxError> {
    let (mut balance, hand) = balance(policy, count).await?;
    Ok(Case::picks(name, "consistent pick", move |number| {
        let _ = &hand;
        let hash = HashKey(key(number));
        black_box(balance.pick(Some(hash)).map(|(endpoint, service)| (endpoint.clone(), *service)));
    }))
}

/// One endpoint leaves, or comes back: from the change to the set that has it.
async fn change<P: Policy>(name: &'static str, policy: P, count: usize) -> Result<Case, BoxError> {
    let (balance, hand) = balance(policy, count).await?;
    let mut there = true;
    let run = move |runtime: &tokio::runtime::Runtime, times: u64| {
        let used = cpu::used_by_thread();
        for _ in 0..times {
            let key = address(count / 2);
            hand.send(Ok(if there { Change::Remove(key) } else { Change::Insert(key, Mock) }))?;
            there = !there;
            let ready = if there { count } else { count - 1 };
            runtime.block_on(until(&balance, ready))?;
        }
        Ok(cpu::used_by_thread() - used)
    };
    Ok(Case { name, what: "change", batch: 2, run: Box::new(run) })
}

async fn balance<P: Policy>(policy: P, count: usize) -> Result<(Balance<Mock, u64, P>, Hand), BoxError> {
    let (hand, mut changes) = mpsc::unbounded_channel();
    for number in 0..count {
        hand.send(Ok(Change::Insert(address(number), Mock)))?;
    }
    let changes = futures_util::stream::poll_fn(move |cx| changes.poll_recv(cx));
    let balance = Balance::builder(changes).policy(policy).seed(1).build();
    until(&balance, count).await?;
    Ok((balance, hand))
}

async fn until<P: Policy>(balance: &Balance<Mock, u64, P>, ready: usize) -> Result<(), BoxError> {
    // The balancer lets changes come together for a millisecond; asking often would cost more than it does.
    for _ in 0..5_000 {
        sleep(Duration::from_millis(2)).await;
        if balance.ready_endpoints() == ready {
            return Ok(());
        }
    }
    Err("a change was never seen".into())
}
