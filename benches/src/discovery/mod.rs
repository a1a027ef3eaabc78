//! How soon a change in a registry reaches the balancer, and how long many endpoints take to be there: beside the raw
//! clients, on the same servers in the same run.
//!
//! etcd is started by the bench, where it is found. Kubernetes' API server is played: a recorded rolling update at its own
//! pace, and a list of a hundred slices. The list is measured on a real one as well, where `KUBECONFIG` names one.

mod api;
mod cluster;
mod etcd;
mod kubernetes;
mod raw;
mod sample;

use std::{
    any::Any,
    thread,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use micro_balance::Balance;
use micro_discover::{Endpoint, Endpoints, Registry, Watch};
use tokio::runtime::Runtime;
use tower::{BoxError, discover::Change};

use crate::{
    bar::Bar,
    options::Options,
    report::{Report, Table},
    rotation::rotate,
    statistics::{median, paired_ratio},
    versions,
};

/// Endpoints of the large service.
const MANY: usize = 10_000;
/// How long anything may take before it is called lost.
const LIMIT: Duration = Duration::from_secs(60);

/// Measures each registry.
///
/// # Errors
///
/// When a server does not start, or a change is never seen.
pub fn run(options: &Options, report: &mut Report) -> Result<Vec<Bar>, BoxError> {
    report.say(versions::of(&["tonic", "kube", "k8s-openapi", "tokio"]));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut bars = etcd::run(&runtime, options, report)?;
    bars.extend(kubernetes::run(&runtime, options, report)?);
    bars.extend(cluster::run(&runtime, options, report)?);
    Ok(bars)
}

/// The balancer of a service, as anyone builds it; an endpoint called `never` is known and not ready.
fn balancer(registry: impl Registry + 'static, service: &str) -> Balance<sample::Sample, u64> {
    let endpoints = Endpoints::new(Watch::new(std::sync::Arc::new(registry), service));
    let connected = endpoints.connect(|endpoint| sample::Sample { ready: endpoint.id != "never" });
    Balance::builder(connected).failfast(LIMIT).seed(1).build()
}

/// All endpoints of a service, and the watch that told of them, once there are as many as there should be.
async fn loaded(registry: impl Registry + 'static, service: &str) -> Result<Loaded, BoxError> {
    let mut endpoints = Endpoints::new(Watch::new(std::sync::Arc::new(registry), service));
    let mut all = Vec::with_capacity(MANY);
    let told = async {
        while all.len() < MANY {
            match endpoints.next().await {
                Some(Ok(Change::Insert(_, endpoint))) => all.push(endpoint),
                other => return Err(format!("the watch said {other:?} instead of an endpoint").into()),
            }
        }
        Ok::<_, BoxError>(())
    };
    tokio::time::timeout(LIMIT, told).await??;
    Ok((endpoints, all))
}

type Loaded = (Endpoints, Vec<Endpoint>);

/// What was loaded is let go of by tasks of its own: not while the next one loads.
const LET_GO: Duration = Duration::from_millis(30);

/// Takes turns with loading everything by the raw client and by ours; what is loaded is let go of afterwards.
fn loads<R, O>(
    runtime: &Runtime,
    rounds: usize,
    raw: impl Fn() -> R,
    ours: impl Fn() -> O,
) -> Result<Pair, BoxError>
where
    R: Future<Output = Result<Box<dyn Any>, BoxError>>,
    O: Future<Output = Result<Loaded, BoxError>>,
{
    let measured = rotate(2, rounds + 1, |case| {
        let started = Instant::now();
        let loaded: Box<dyn Any> =
            if case == 0 { runtime.block_on(raw())? } else { Box::new(runtime.block_on(ours())?) };
        let took = millis(started.elapsed());
        drop(loaded);
        thread::sleep(LET_GO);
        Ok(took)
    });
    without_first(measured, 1)
}

/// What was measured, without the rounds that warmed up what there is to warm up.
fn without_first(measured: Vec<Vec<Result<f64, BoxError>>>, warm: usize) -> Result<Pair, BoxError> {
    let rest =
        |rounds: Vec<Result<f64, BoxError>>| rounds.into_iter().skip(warm).collect::<Result<Vec<_>, _>>();
    let mut cases = measured.into_iter().map(rest);
    match (cases.next(), cases.next()) {
        (Some(raw), Some(ours)) => Ok([raw?, ours?]),
        _ => Err("there are two cases".into()),
    }
}

/// What two cases took, in milliseconds by round: the raw client, then ours.
type Pair = [Vec<f64>; 2];

/// A table of both, and the claim that ours is within `limit` times the raw client's.
fn compared(name: &str, raw: &str, pair: &Pair, limit: f64, report: &mut Report) -> Bar {
    tabled(name, raw, pair, report);
    Bar::at_most(format!("discovery/{name}"), paired_ratio(&pair[1], &pair[0]), limit)
}

/// A table of both.
fn tabled(name: &str, raw: &str, pair: &Pair, report: &mut Report) {
    let table = Table::new(name).column("p50 ms", 3).column("p90 ms", 3);
    let row = |millis: &[f64]| {
        let mut sorted = millis.to_vec();
        sorted.sort_by(f64::total_cmp);
        [median(&sorted), sorted.get(sorted.len() * 9 / 10).copied().unwrap_or(f64::NAN)]
    };
    report.table(table.row(raw, row(&pair[0])).row("ours", row(&pair[1])).charted("p50 ms"));
}

/// Milliseconds.
fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
