//! `Debug.Health` and `Debug.Stats`, which every go-micro service answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::once};
use http::Response;
use prost::Message;
use serde::Serialize;
use tonic::Status;

use super::handler::{Incoming, Method};
use crate::gomicro::detect::Era;

/// What is counted for `Debug.Stats`.
#[derive(Clone, Debug)]
pub(super) struct Debug(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    started: Instant,
    started_at: u64,
    requests: AtomicU64,
    errors: AtomicU64,
}

/// A request that is being answered.
pub(super) struct Counted(Arc<Counts>);

impl Counted {
    /// Whether it went well, as far as the head tells.
    pub(super) fn answered<B>(self, response: &Response<B>) {
        let failed = response.headers().get("grpc-status").is_some_and(|status| status != "0");
        if failed || !response.status().is_success() {
            self.0.errors.fetch_add(1, Relaxed);
        }
    }
}

#[derive(Clone, PartialEq, Message, Serialize)]
struct Health {
    #[prost(string, tag = "1")]
    status: String,
}

/// As v1 and later number it.
#[derive(Clone, PartialEq, Message, Serialize)]
struct Stats {
    #[prost(uint64, tag = "1")]
    timestamp: u64,
    #[prost(uint64, tag = "2")]
    started: u64,
    #[prost(uint64, tag = "3")]
    uptime: u64,
    #[prost(uint64, tag = "4")]
    memory: u64,
    #[prost(uint64, tag = "5")]
    threads: u64,
    #[prost(uint64, tag = "6")]
    gc: u64,
    #[prost(uint64, tag = "7")]
    requests: u64,
    #[prost(uint64, tag = "8")]
    errors: u64,
}

/// As v0 numbers it.
#[derive(Clone, PartialEq, Message)]
struct OldStats {
    #[prost(uint64, tag = "1")]
    started: u64,
    #[prost(uint64, tag = "2")]
    uptime: u64,
    #[prost(uint64, tag = "3")]
    memory: u64,
    #[prost(uint64, tag = "4")]
    threads: u64,
    #[prost(uint64, tag = "5")]
    gc: u64,
}

impl Debug {
    pub(super) fn new() -> Self {
        Self(Arc::new(Counts {
            started: Instant::now(),
            started_at: unix_seconds(),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        }))
    }

    pub(super) fn count(&self) -> Counted {
        self.0.requests.fetch_add(1, Relaxed);
        Counted(self.0.clone())
    }

    pub(super) fn methods(&self) -> [(&'static str, Method); 2] {
        let counts = self.0.clone();
        let health = |_: Option<Era>| Answer::new(&Health { status: "ok".to_owned() }, None);
        let stats = move |era| {
            let stats = counts.stats();
            let old = OldStats {
                started: stats.started,
                uptime: stats.uptime,
                memory: stats.memory,
                threads: stats.threads,
                gc: stats.gc,
            };
            Answer::new(&stats, (era == Some(Era::V0)).then(|| old.encode_to_vec()))
        };
        [("Debug.Health", method(health)), ("Debug.Stats", method(stats))]
    }
}

struct Answer {
    json: Vec<u8>,
    proto: Vec<u8>,
}

impl Answer {
    fn new(value: &(impl Message + Serialize), proto: Option<Vec<u8>>) -> Self {
        let json = serde_json::to_vec(value).expect("strings and numbers are always JSON");
        Self { json, proto: proto.unwrap_or_else(|| value.encode_to_vec()) }
    }
}

/// Answers whatever it is asked with.
fn method(answer: impl Fn(Option<Era>) -> Answer + Send + Sync + 'static) -> Method {
    Arc::new(move |incoming: Incoming| {
        let answer = answer(incoming.era);
        let bytes: Bytes = if incoming.format == "json" { answer.json } else { answer.proto }.into();
        Box::pin(async move { Ok(once(async { Ok::<_, Status>(bytes) }).boxed()) })
    })
}

impl Counts {
    fn stats(&self) -> Stats {
        Stats {
            timestamp: unix_seconds(),
            started: self.started_at,
            uptime: self.started.elapsed().as_secs(),
            memory: of_process("VmRSS:").unwrap_or_default() << 10,
            threads: of_process("Threads:").unwrap_or_default(),
            gc: 0,
            requests: self.requests.load(Relaxed),
            errors: self.errors.load(Relaxed),
        }
    }
}

/// What Linux says of this process, from memory; nothing elsewhere.
fn of_process(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
