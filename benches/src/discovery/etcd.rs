//! etcd: a put until it can be picked, beside a put until the raw client's watch tells of it; many endpoints, beside the raw
//! client's range.

use std::{
    any::Any,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use micro_balance::Balance;
use micro_discover::Etcd;
use tokio::{runtime::Runtime, time::timeout};
use tonic::Streaming;
use tower::{BoxError, Service as _};

use super::{
    LIMIT, MANY, Pair, balancer, compared, loaded, loads, millis,
    raw::{Raw, Watched},
    sample::Sample,
    tabled, without_first,
};
use crate::{bar::Bar, options::Options, report::Report, rotation::rotate, server::registry};

const ROOT: &str = "/micro/registry/";

pub(super) fn run(runtime: &Runtime, options: &Options, report: &mut Report) -> Result<Vec<Bar>, BoxError> {
    let Some(server) = registry::etcd::Etcd::start() else {
        report.say("skipped: no etcd on PATH");
        return Ok(Vec::new());
    };
    let port = server.ports[0];
    let raw = runtime.block_on(Raw::connect(port))?;
    let etcd = || Etcd::builder([format!("127.0.0.1:{port}")]).build();
    let puts = options.rounds(100, 1_000);
    report.say(format!("etcd: {puts} puts watched by each; {MANY} endpoints listed by each"));
    let heard = puts_heard(runtime, &raw, etcd()?, puts)?;
    let mut bars = vec![compared("etcd-put", "raw watch", &heard, 1.3, report)];

    runtime.block_on(fill(&raw))?;
    let range = || async {
        let keys = raw.range(&format!("{ROOT}many/")).await?;
        if keys.len() != MANY {
            return Err(format!("{} keys", keys.len()).into());
        }
        Ok::<_, BoxError>(Box::new(keys) as Box<dyn Any>)
    };
    // Connected once, as the raw client is.
    let many = etcd()?;
    let ours = || async { loaded(many.clone(), "many").await };
    let pair = loads(runtime, options.rounds(5, 21), range, ours)?;
    bars.push(compared("etcd-10k", "raw range", &pair, 1.25, report));

    // The raw range leaves bytes: who uses the client alone has to read them as well.
    let read = || async {
        let keys = raw.range(&format!("{ROOT}many/")).await?;
        let records = keys.iter().map(|key| serde_json::from_slice(&key.value)).collect::<Result<_, _>>()?;
        Ok::<_, BoxError>(Box::<Vec<Record>>::new(records) as Box<dyn Any>)
    };
    let pair = loads(runtime, options.rounds(5, 21), read, ours)?;
    tabled("etcd-10k-read", "raw range, then serde_json", &pair, report);
    Ok(bars)
}

/// A record, as whoever reads it without us would write it down.
#[derive(serde::Deserialize)]
#[allow(dead_code, reason = "what is read is not looked at")]
struct Record {
    name: String,
    version: String,
    metadata: Option<BTreeMap<String, String>>,
    endpoints: Vec<serde_json::Value>,
    nodes: Vec<Node>,
}

#[derive(serde::Deserialize)]
#[allow(dead_code, reason = "what is read is not looked at")]
struct Node {
    id: String,
    address: String,
    metadata: Option<BTreeMap<String, String>>,
}

/// An endpoint as go-micro writes it.
fn record(service: &str, id: &str, port: usize) -> String {
    let labels =
        r#"{"broker":"http","protocol":"mucp","registry":"etcd","server":"mucp","transport":"http"}"#;
    let address = format!("10.{}.{}.{}:8080", port >> 16, (port >> 8) & 255, port & 255);
    format!(
        r#"{{"name":"{service}","version":"1.0.0","metadata":null,"endpoints":[],
        "nodes":[{{"metadata":{labels},"id":"{id}","address":"{address}"}}]}}"#
    )
}

/// Puts many endpoints, some at a time.
async fn fill(raw: &Raw) -> Result<(), BoxError> {
    let puts = stream::iter((0..MANY).map(|number| async move {
        let id = format!("many-{number:08x}");
        raw.put(&format!("{ROOT}many/{id}"), &record("many", &id, number)).await
    }));
    puts.buffer_unordered(64).try_collect().await
}

/// Puts an endpoint and takes it away again, once for each watcher in turn: until it is told, or can be picked.
fn puts_heard(runtime: &Runtime, raw: &Raw, etcd: Etcd, puts: usize) -> Result<Pair, BoxError> {
    let (mut told, balance) = runtime.block_on(async {
        raw.put(&format!("{ROOT}ours/never"), &record("ours", "never", 1)).await?;
        let balance = balancer(etcd, "ours");
        Ok::<_, BoxError>((raw.watch(&format!("{ROOT}raw/")).await?, balance))
    })?;
    let warm = 20;
    let measured = rotate(2, puts + warm, |case| {
        runtime.block_on(async {
            let one = async {
                if case == 0 { heard(raw, &mut told).await } else { picked(raw, balance.clone()).await }
            };
            timeout(LIMIT, one).await?.map(millis)
        })
    });
    without_first(measured, warm)
}

/// From a put until the raw watch tells of it.
async fn heard(raw: &Raw, told: &mut Streaming<Watched>) -> Result<Duration, BoxError> {
    let (key, value) = (format!("{ROOT}raw/a"), record("raw", "a", 1));
    let started = Instant::now();
    let event = async {
        tells(told, 0).await?;
        Ok::<_, BoxError>(started.elapsed())
    };
    let (put, took) = tokio::join!(raw.put(&key, &value), event);
    put?;
    tokio::try_join!(raw.delete(&key), tells(told, 1))?;
    tokio::time::sleep(SETTLE).await;
    took
}

async fn tells(told: &mut Streaming<Watched>, kind: i32) -> Result<(), BoxError> {
    loop {
        let message = told.message().await?.ok_or("the watch ended")?;
        if message.events.iter().any(|event| event.kind == kind && event.kv.is_some()) {
            return Ok(());
        }
    }
}

/// What is behind is behind: the next change finds everyone at rest.
const SETTLE: Duration = Duration::from_millis(3);

/// From a put until a request that waits is given the endpoint.
async fn picked(raw: &Raw, mut balance: Balance<Sample, u64>) -> Result<Duration, BoxError> {
    let (key, value) = (format!("{ROOT}ours/a"), record("ours", "a", 1));
    let waiting = balance.call(1);
    let started = Instant::now();
    let answered = async {
        waiting.await?;
        Ok::<_, BoxError>(started.elapsed())
    };
    let (put, took) = tokio::join!(raw.put(&key, &value), answered);
    put?;
    raw.delete(&key).await?;
    while balance.ready_endpoints() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(SETTLE).await;
    took
}
