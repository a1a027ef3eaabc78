//! Kubernetes: a recorded rolling update until the balancer has it, beside kube's own watch; many endpoints, beside kube's
//! own list.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::TryStreamExt as _;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client, Config,
    api::{ListParams, WatchEvent, WatchParams},
};
use micro_balance::Balance;
use micro_discover::{Initial, Kubernetes};
use serde_json::Value;
use tokio::{runtime::Runtime, time::timeout};
use tower::BoxError;

use super::{
    LIMIT, MANY, Pair, api,
    api::{Recording, play},
    balancer, compared, loaded, loads, millis,
    sample::Sample,
};
use crate::{
    bar::Bar,
    options::Options,
    report::{Report, Table},
    statistics::median,
};

/// How much later than kube's own watch the balancer may have a change, in milliseconds.
const LAG: f64 = 2.0;
const UPDATE: &str = "31-watch-rolling-update";

pub(super) fn run(runtime: &Runtime, options: &Options, report: &mut Report) -> Result<Vec<Bar>, BoxError> {
    let rounds = options.rounds(1, 5);
    report.say(format!(
        "Kubernetes: a recorded rolling update of 3 pods (IPv4), {rounds} times at its own pace; {MANY} endpoints in \
         slices of 100 listed by each"
    ));
    let mut lags = Vec::new();
    for _ in 0..rounds {
        lags.extend(update(runtime)?);
    }
    lags.sort_by(f64::total_cmp);
    if lags.is_empty() {
        return Err("the update changes nothing".into());
    }
    let row = [median(&lags), lags[lags.len() * 9 / 10], lags[lags.len() - 1]];
    let table = Table::new("kubernetes-update").column("p50 ms", 3).column("p90 ms", 3).column("max ms", 3);
    report.table(table.row("ours after kube's watch", row));
    let mut bars = vec![Bar::at_most("discovery/kubernetes-update-lag-ms", row[0], LAG)];

    let url = play(Recording { list: serde_json::to_string(&many()?)?, events: Vec::new() })?;
    let client = runtime.block_on(async { Client::try_from(config(&url)?).map_err(BoxError::from) })?;
    let pair = lists(runtime, options, &client, "big")?;
    bars.push(compared("kubernetes-10k", "kube list", &pair, 1.25, report));
    Ok(bars)
}

/// Takes turns with listing the endpoints of `big` in `namespace`: kube's own list, and ours.
pub(super) fn lists(
    runtime: &Runtime,
    options: &Options,
    client: &Client,
    namespace: &str,
) -> Result<Pair, BoxError> {
    let list = || async {
        let slices = Api::<EndpointSlice>::namespaced(client.clone(), namespace);
        let slices = slices.list(&ListParams::default().labels("kubernetes.io/service-name=big")).await?;
        let found: usize = slices.iter().map(|slice| slice.endpoints.iter().flatten().count()).sum();
        if found != MANY {
            return Err(format!("{found} endpoints").into());
        }
        Ok::<_, BoxError>(Box::new(slices) as Box<dyn Any>)
    };
    let ours = || async {
        let registry = Kubernetes::from_client(client.clone()).namespace(namespace).initial(Initial::List);
        loaded(registry, "big").await
    };
    loads(runtime, options.rounds(5, 21), list, ours)
}

fn config(url: &str) -> Result<Config, BoxError> {
    Ok(Config::new(url.parse()?))
}

fn data(name: &str) -> Result<String, BoxError> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../micro-discover/tests/data/kubernetes");
    Ok(fs::read_to_string(tests.join(name))?)
}

/// The update, of one family: what it does to the two slices of a pod in turn is not told apart from outside.
fn recorded() -> Result<Recording, BoxError> {
    let four = |slice: &Value| slice["addressType"] == "IPv4";
    let mut list: Value = serde_json::from_str(&data(&format!("{UPDATE}-initial.json"))?)?;
    list["items"].as_array_mut().ok_or("a list has items")?.retain(four);
    let meta: Value = serde_json::from_str(&data(&format!("{UPDATE}.meta.json"))?)?;
    // The head came first.
    let times = meta["arrivals"].as_array().ok_or("when chunks came")?.iter().skip(1);
    let lines = data(&format!("{UPDATE}.jsonl"))?;
    let mut events = Vec::new();
    for (line, time) in lines.lines().zip(times) {
        let event: Value = serde_json::from_str(line)?;
        if four(&event["object"]) {
            let at = Duration::from_secs_f64(time[0].as_f64().ok_or("seconds")?);
            events.push((at, line.to_owned()));
        }
    }
    Ok(Recording { list: list.to_string(), events })
}

/// Plays the update once: by how many milliseconds the balancer has each change later than kube's watch tells of it.
fn update(runtime: &Runtime) -> Result<Vec<f64>, BoxError> {
    let recording = recorded()?;
    let events = recording.events.len();
    let url = api::play(recording)?;
    runtime.block_on(async {
        let client = Client::try_from(config(&url)?)?;
        let registry = Kubernetes::from_client(client.clone()).namespace("rec").initial(Initial::List);
        let balance = balancer(registry, "greeter");
        let done = Arc::new(AtomicBool::new(false));
        let watcher = thread::spawn({
            let (balance, done) = (balance.clone(), done.clone());
            move || sizes(&balance, &done)
        });
        let raw = timeout(LIMIT, raw_sizes(client, events)).await;
        // What is behind has a second to come.
        tokio::time::sleep(Duration::from_secs(1)).await;
        done.store(true, Relaxed);
        let ours = watcher.join().map_err(|_| "the watcher panicked")?;
        let raw = raw??;
        let told = |sizes: &[(Instant, usize)]| sizes.iter().map(|(_, size)| *size).collect::<Vec<_>>();
        if told(&raw) != told(&ours) {
            return Err(format!("kube's watch told of {:?}, ours of {:?}", told(&raw), told(&ours)).into());
        }
        let lag = |(raw, ours): (&(Instant, usize), &(Instant, usize))| match ours
            .0
            .checked_duration_since(raw.0)
        {
            Some(later) => millis(later),
            None => -millis(raw.0 - ours.0),
        };
        // The first is the list's.
        Ok(raw.iter().zip(&ours).skip(1).map(lag).collect())
    })
}

/// When the balancer had how many endpoints.
fn sizes(balance: &Balance<Sample, u64>, done: &AtomicBool) -> Vec<(Instant, usize)> {
    let mut sizes: Vec<(Instant, usize)> = Vec::new();
    while !done.load(Relaxed) {
        let size = balance.ready_endpoints();
        if size != sizes.last().map_or(0, |last| last.1) {
            sizes.push((Instant::now(), size));
        }
        thread::sleep(Duration::from_micros(50));
    }
    sizes
}

/// When kube's own list and watch had told of how many ready endpoints.
async fn raw_sizes(client: Client, events: usize) -> Result<Vec<(Instant, usize)>, BoxError> {
    let api = Api::<EndpointSlice>::namespaced(client, "rec");
    let label = "kubernetes.io/service-name=greeter";
    let list = api.list(&ListParams::default().labels(label)).await?;
    let mut slices: BTreeMap<_, _> =
        list.items.into_iter().map(|slice| (slice.metadata.name.clone(), slice)).collect();
    let mut sizes = vec![(Instant::now(), ready(&slices))];
    let version = list.metadata.resource_version.unwrap_or_default();
    let told = api.watch(&WatchParams::default().labels(label), &version).await?;
    let mut told = std::pin::pin!(told);
    for _ in 0..events {
        let event = told.try_next().await?.ok_or("the watch ended")?;
        let at = Instant::now();
        match event {
            WatchEvent::Added(slice) | WatchEvent::Modified(slice) => {
                slices.insert(slice.metadata.name.clone(), slice);
            }
            other => Err(format!("an update has no {other:?}"))?,
        }
        let size = ready(&slices);
        if sizes.last().is_some_and(|last| last.1 != size) {
            sizes.push((at, size));
        }
    }
    Ok(sizes)
}

fn ready(slices: &BTreeMap<Option<String>, EndpointSlice>) -> usize {
    let endpoints = slices.values().flat_map(|slice| slice.endpoints.iter().flatten());
    let ready = endpoints.filter(|endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    });
    ready.filter_map(|endpoint| endpoint.addresses.first()).collect::<BTreeSet<_>>().len()
}

/// A list of as many endpoints, in slices like one that was recorded.
pub(super) fn many() -> Result<Value, BoxError> {
    let mut list: Value = serde_json::from_str(&data("12-list-250.json")?)?;
    let full = |slice: &&Value| slice["endpoints"].as_array().is_some_and(|endpoints| endpoints.len() == 100);
    let slice = list["items"].as_array().and_then(|items| items.iter().find(full)).ok_or("a full slice")?;
    let copies = (0..MANY / 100).map(|number| {
        let mut slice = slice.clone();
        slice["metadata"]["name"] = format!("big-{number:05}").into();
        for (host, endpoint) in slice["endpoints"].as_array_mut().into_iter().flatten().enumerate() {
            endpoint["addresses"] = serde_json::json!([format!("10.8.{number}.{host}")]);
            endpoint["targetRef"]["uid"] = format!("{number}-{host}").into();
        }
        slice
    });
    list["items"] = copies.collect();
    Ok(list)
}
