//! The task that probes endpoints for a policy that wants it, beside the requests.

use std::{
    future::poll_fn,
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::timeout;
use tower::BoxError;

use crate::{
    caught,
    chance::Chance,
    endpoint::Endpoint,
    policy::{Finding, Load, Policy, Probing},
    shared::Shared,
};

/// Asks an endpoint how it is.
pub(crate) type LoadProbe<S> = Arc<dyn Fn(S) -> BoxFuture<'static, Result<Load, BoxError>> + Send + Sync>;

/// An answer that takes longer is of no use.
const PATIENCE: Duration = Duration::from_secs(1);
/// Probes on the way at once, at most.
const LIMIT: usize = 64;

/// Probes as often as `probing` asks for it, until the balancer is gone.
pub(crate) async fn run<S, P, T>(
    shared: Weak<Shared<S, P, T>>,
    probing: Arc<Probing>,
    probe: Option<LoadProbe<S>>,
    chance: Chance,
) where
    S: Clone + Send + Sync + 'static,
    P: Policy,
    T: Send + Sync + 'static,
{
    let mut under_way = FuturesUnordered::new();
    loop {
        let wanted = poll_fn(|cx| match probing.take_wanted(cx.waker()) {
            0 => Poll::Pending,
            wanted => Poll::Ready(wanted),
        });
        tokio::select! {
            Some(finding) = under_way.next(), if !under_way.is_empty() => {
                if let Some(finding) = finding {
                    probing.add(finding);
                }
            }
            wanted = wanted => {
                let Some(shared) = shared.upgrade() else { return };
                let snapshot = shared.snapshot.load();
                let room = LIMIT - under_way.len().min(LIMIT);
                for _ in 0..(wanted as usize).min(room) {
                    let members = snapshot.len();
                    let Some((endpoint, service)) = snapshot.member(chance.below(members)) else { break };
                    under_way.push(find(endpoint.clone(), service.clone(), probe.clone()));
                }
            }
        }
    }
}

/// How the endpoint is: by its own account, or by ours.
async fn find<S>(endpoint: Endpoint, service: S, probe: Option<LoadProbe<S>>) -> Option<Finding> {
    let load = match probe {
        Some(probe) => {
            let asked = caught::answer("the load probe", || probe(service));
            timeout(PATIENCE, asked).await.ok()?.ok()?
        }
        None => Load {
            in_flight: endpoint.in_flight().min(u32::MAX.into()) as u32,
            latency: endpoint.latency().unwrap_or_default(),
        },
    };
    let (serial, now) = (endpoint.stats().serial(), endpoint.stats().now().get());
    Some(Finding::new(serial, load.in_flight, load.latency.as_nanos() as u64, now))
}
