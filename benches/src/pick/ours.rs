//! Our balancer, by policy.

use std::time::Duration;

use micro_balance::{
    Balance, State,
    policy::{LeastRequest, PeakEwma, Policy, Random, RoundRobin},
};
use tower::BoxError;

use super::{
    case::{Named, Shared},
    mock::{Mock, mocks},
};

pub(crate) const ROUND_ROBIN: &str = "ours RoundRobin";
pub(crate) const RANDOM: &str = "ours Random";
/// The policy that is held against tower's pending requests.
pub(crate) const LEAST_REQUEST: &str = "ours LeastRequest";
/// The policy that is held against tower's peak EWMA.
pub(crate) const PEAK_EWMA: &str = "ours PeakEwma";
/// Every policy.
pub(super) const ALL: [&str; 4] = [ROUND_ROBIN, RANDOM, LEAST_REQUEST, PEAK_EWMA];

/// Every case, over `count` endpoints that are ready.
pub(super) async fn cases(count: usize) -> Result<Vec<Named>, BoxError> {
    let [round_robin, random, least_request, peak_ewma] = ALL;
    Ok(vec![
        Named::new(round_robin, Shared(balance(count, RoundRobin::starting_at(0)).await?)),
        Named::new(random, Shared(balance(count, Random).await?)),
        Named::new(least_request, Shared(balance(count, LeastRequest).await?)),
        Named::new(peak_ewma, Shared(balance(count, PeakEwma::new()).await?)),
    ])
}

async fn balance<P: Policy>(count: usize, policy: P) -> Result<Balance<Mock, u64, P>, BoxError> {
    let balance = Balance::builder(mocks(count)).policy(policy).seed(1).build();
    for _ in 0..1_000 {
        let endpoints = balance.endpoints();
        if endpoints.len() == count && endpoints.iter().all(|endpoint| endpoint.state == State::Ready) {
            return Ok(balance);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err(format!("{count} endpoints did not become ready within a second").into())
}
