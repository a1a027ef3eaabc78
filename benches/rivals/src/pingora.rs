//! pingora-load-balancing.

use std::{
    collections::{BTreeSet, HashMap},
    hint::black_box,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use pingora_load_balancing::{
    Backend, Backends, LoadBalancer,
    discovery::ServiceDiscovery,
    selection::{BackendIter, BackendSelection, Consistent, Random, RoundRobin},
};

use crate::{BoxError, Case, address, cpu, key};

/// How many backends are asked before a pick fails.
const ITERATIONS: usize = 16;

/// Discovers what it is told to.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<BTreeSet<Backend>>>);

#[async_trait]
impl ServiceDiscovery for Told {
    async fn discover(&self) -> pingora_core::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        Ok((self.0.lock().unwrap_or_else(PoisonError::into_inner).clone(), HashMap::new()))
    }
}

/// Every case, over `count` backends.
pub(crate) async fn cases(count: usize) -> Result<Vec<Case>, BoxError> {
    Ok(vec![
        picks::<RoundRobin>("pingora RoundRobin", "pick", count).await?,
        picks::<Random>("pingora Random", "pick", count).await?,
        picks::<Consistent>("pingora Consistent (ketama)", "consistent pick", count).await?,
        change::<RoundRobin>("pingora RoundRobin", count).await?,
        change::<Consistent>("pingora Consistent (ketama)", count).await?,
    ])
}

async fn balancer<S>(count: usize) -> Result<(LoadBalancer<S>, Told), BoxError>
where
    S: BackendSelection + 'static,
    S::Iter: BackendIter,
{
    let backends: Result<BTreeSet<_>, _> = (0..count).map(|number| Backend::new(&address(number))).collect();
    let told = Told(Arc::new(Mutex::new(backends?)));
    let balancer = LoadBalancer::from_backends(Backends::new(Box::new(told.clone())));
    balancer.update().await?;
    Ok((balancer, told))
}

async fn picks<S>(name: &'static str, what: &'static str, count: usize) -> Result<Case, BoxError>
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
    S::Config: Send + Sync,
{
    let (balancer, _) = balancer::<S>(count).await?;
    Ok(Case::picks(name, what, move |number| {
        black_box(balancer.select(&key(number).to_le_bytes(), ITERATIONS));
    }))
}

async fn change<S>(name: &'static str, count: usize) -> Result<Case, BoxError>
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
    S::Config: Send + Sync,
{
    let (balancer, told) = balancer::<S>(count).await?;
    let backend = Backend::new(&address(count / 2))?;
    let run = move |runtime: &tokio::runtime::Runtime, times: u64| {
        let used = cpu::used_by_thread();
        for _ in 0..times {
            let mut backends = told.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !backends.remove(&backend) {
                backends.insert(backend.clone());
            }
            drop(backends);
            runtime.block_on(balancer.update())?;
        }
        Ok(cpu::used_by_thread() - used)
    };
    Ok(Case { name, what: "change", batch: 2, run: Box::new(run) })
}
