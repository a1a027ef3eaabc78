//! What threads do at the same time.

use std::{
    hint::black_box,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use micro_balance::{
    Balance, State,
    policy::{LeastRequest, PeakEwma, Policy, RoundRobin},
};
use tower::{
    BoxError, Service,
    balance::p2c::Balance as Tower,
    discover::ServiceList,
    load::{CompleteOnResponse, PendingRequestsDiscover},
};

use super::floor::Floor;
use crate::pick::mock::{Mock, mocks};

type Peer = Tower<PendingRequestsDiscover<ServiceList<Vec<Mock>>>, u64>;

/// A shared thing, and what is done with it.
pub(super) enum Case {
    Add(AtomicU64),
    Pick(Balance<Mock, u64, LeastRequest>),
    /// The same among ten endpoints, whatever their number else, for what it costs in the same round.
    PickOfTen(Balance<Mock, u64, LeastRequest>),
    Request(Balance<Mock, u64, LeastRequest>),
    RequestOfTen(Balance<Mock, u64, LeastRequest>),
    Round(Balance<Mock, u64, RoundRobin>),
    Ewma(Balance<Mock, u64, PeakEwma>),
    Mutex(Box<Mutex<Peer>>),
    Apart,
    LessBusy(Floor),
    InTurn(Floor),
}

impl Case {
    pub(super) const ADD: usize = 0;
    pub(super) const PICK: usize = 1;
    pub(super) const PICK_OF_TEN: usize = 2;
    pub(super) const REQUEST: usize = 3;
    pub(super) const REQUEST_OF_TEN: usize = 4;
    pub(super) const ROUND: usize = 5;
    pub(super) const MUTEX: usize = 7;

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "a shared fetch_add",
            Self::Pick(_) => "ours LeastRequest, pick only",
            Self::PickOfTen(_) => "ours LeastRequest, pick only, N=10",
            Self::Request(_) => "ours LeastRequest, request",
            Self::RequestOfTen(_) => "ours LeastRequest, request, N=10",
            Self::Round(_) => "ours RoundRobin, request",
            Self::Ewma(_) => "ours PeakEwma, request",
            Self::Mutex(_) => "Mutex(tower Balance<Pending>), request",
            Self::Apart => "floor: a fetch_add of each thread's own",
            Self::LessBusy(_) => "floor: the less busy of two words, counted in and out",
            Self::InTurn(_) => "floor: words in turn, counted in and out",
        }
    }

    /// The operation of one thread, which does it a number of times through a handle that it keeps.
    pub(super) fn operation(&self) -> Box<dyn FnMut(u64) + '_> {
        match self {
            Self::Add(number) => Box::new(move |times| {
                for _ in 0..times {
                    black_box(number.fetch_add(1, Relaxed));
                }
            }),
            Self::Pick(balance) | Self::PickOfTen(balance) => {
                let mut balance = balance.clone();
                Box::new(move |times| {
                    for _ in 0..times {
                        black_box(balance.pick(None).map(|picked| picked.0.in_flight()));
                    }
                })
            }
            Self::Request(balance) | Self::RequestOfTen(balance) => requests(balance.clone()),
            Self::Round(balance) => requests(balance.clone()),
            Self::Ewma(balance) => requests(balance.clone()),
            Self::Apart => Floor::apart(),
            Self::LessBusy(floor) => floor.less_busy(),
            Self::InTurn(floor) => floor.in_turn(),
            Self::Mutex(balance) => Box::new(move |times| {
                for request in 0..times {
                    let mut balance = balance.lock().unwrap_or_else(PoisonError::into_inner);
                    // All its endpoints are ready, so it is as soon as it is asked.
                    while futures_util::future::poll_fn(|cx| balance.poll_ready(cx)).now_or_never().is_none()
                    {
                    }
                    black_box(balance.call(request).now_or_never());
                }
            }),
        }
    }
}

fn requests<P: Policy>(mut balance: Balance<Mock, u64, P>) -> Box<dyn FnMut(u64)> {
    Box::new(move |times| {
        for request in 0..times {
            black_box(balance.call(request).now_or_never());
        }
    })
}

/// Every case, over `count` endpoints that are ready.
pub(super) async fn cases(count: usize) -> Result<Vec<Case>, BoxError> {
    let peer = Tower::new(PendingRequestsDiscover::new(mocks(count), CompleteOnResponse::default()));
    Ok(vec![
        Case::Add(AtomicU64::new(0)),
        Case::Pick(ready(count, LeastRequest).await?),
        Case::PickOfTen(ready(10, LeastRequest).await?),
        Case::Request(ready(count, LeastRequest).await?),
        Case::RequestOfTen(ready(10, LeastRequest).await?),
        Case::Round(ready(count, RoundRobin::starting_at(0)).await?),
        Case::Ewma(ready(count, PeakEwma::new()).await?),
        Case::Mutex(Box::new(Mutex::new(peer))),
        Case::Apart,
        Case::LessBusy(Floor::new(count)),
        Case::InTurn(Floor::new(count)),
    ])
}

async fn ready<P: Policy>(count: usize, policy: P) -> Result<Balance<Mock, u64, P>, BoxError> {
    let balance = Balance::builder(mocks(count)).policy(policy).seed(1).build();
    for _ in 0..5_000 {
        let endpoints = balance.endpoints();
        if endpoints.len() == count && endpoints.iter().all(|endpoint| endpoint.state == State::Ready) {
            return Ok(balance);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err(format!("{count} endpoints did not become ready in time").into())
}
