//! The client: steady calls, and what became of them.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use examples::proto::{HelloRequest, greeter_client::GreeterClient};
use hdrhistogram::Histogram;
use micro_balance::{
    Repeatable, View,
    retry::{Budget, RetryLayer},
};
use micro_tower::Client;
use tokio::{
    sync::{Notify, Semaphore},
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval},
};

/// How many failures are told in full.
const TOLD: u64 = 5;

/// A client under load.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    client: Client,
    figures: Arc<Mutex<Figures>>,
    stop: Arc<Notify>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

#[derive(Debug)]
struct Figures {
    calls: u64,
    failed: u64,
    last_error: Option<String>,
    /// Latencies in microseconds, of all calls and by replica.
    latency: Histogram<u64>,
    by_replica: std::collections::BTreeMap<String, Histogram<u64>>,
}

/// The end of a run.
#[derive(Debug)]
pub(crate) struct Totals {
    /// Calls that have ended.
    pub(crate) calls: u64,
    /// Those that ended with an error.
    pub(crate) failed: u64,
    p50: f64,
    p99: f64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "calls={} failed={} p50={:.2} p99={:.2}", self.calls, self.failed, self.p50, self.p99)
    }
}

impl Load {
    /// A client that has not called anybody yet.
    pub(crate) fn new(registry: &str) -> anyhow::Result<Self> {
        let registry = micro_discover::open(registry)?;
        // All of the few calls under way may be at the replica that is killed. By default, retries are a share of the
        // calls of the last seconds, which on a slow machine, just after the start, are hardly any.
        let retry = RetryLayer::new().budget(Budget::concurrent(100.0, 1)?);
        let client =
            Client::builder("greeter", registry).timeout(Duration::from_secs(5)).retry(retry).build();
        let figures = Figures {
            calls: 0,
            failed: 0,
            last_error: None,
            latency: Histogram::new(3)?,
            by_replica: Default::default(),
        };
        Ok(Self {
            client,
            figures: Arc::new(Mutex::new(figures)),
            stop: Arc::default(),
            task: Arc::default(),
        })
    }

    /// Starts to call the greeter `rate` times a second, `width` calls at once at most.
    pub(crate) fn start(&self, width: u32, rate: u32) {
        let task = tokio::spawn(self.clone().run(width, rate));
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    async fn run(self, width: u32, rate: u32) {
        let slots = Arc::new(Semaphore::new(width as usize));
        let mut ticks = interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut calls = JoinSet::new();
        let stopped = self.stop.notified();
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                () = &mut stopped => break,
                _ = ticks.tick() => {}
            }
            let Ok(slot) = slots.clone().acquire_owned().await else { break };
            while calls.try_join_next().is_some() {}
            let load = self.clone();
            calls.spawn(async move {
                load.call().await;
                drop(slot);
            });
        }
        while calls.join_next().await.is_some() {}
    }

    async fn call(&self) {
        let mut request = tonic::Request::new(HelloRequest { name: "John".to_owned() });
        // To say hello twice does no harm, so a call whose replica died while it answered may be repeated.
        request.extensions_mut().insert(Repeatable);
        let began = Instant::now();
        let answer = GreeterClient::new(self.client.clone()).hello(request).await;
        let micros = began.elapsed().as_micros() as u64;
        let mut figures = self.figures();
        figures.calls += 1;
        match answer {
            Ok(answer) => {
                record(&mut figures.latency, micros);
                let replica = answer.metadata().get(examples::REPLICA).and_then(|name| name.to_str().ok());
                if let (Some(replica), Ok(empty)) = (replica, Histogram::new(3)) {
                    record(figures.by_replica.entry(replica.to_owned()).or_insert(empty), micros);
                }
            }
            Err(status) => {
                figures.failed += 1;
                if figures.failed <= TOLD {
                    eprintln!("a call failed after {:.3} s: {status}", micros as f64 / 1e6);
                }
                figures.last_error = Some(status.to_string());
            }
        }
    }

    /// The client that makes the calls.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The endpoints as the balancer sees them.
    pub(crate) fn endpoints(&self) -> Vec<View> {
        self.client.endpoints()
    }

    /// Median and 99th percentile of a replica's latencies since this was last asked, in milliseconds.
    pub(crate) fn take_latency(&self, replica: &str) -> Option<(f64, f64)> {
        let latency = self.figures().by_replica.remove(replica)?;
        Some(percentiles(&latency))
    }

    /// Calls so far, those that failed, and what the last one failed of.
    pub(crate) fn so_far(&self) -> (u64, u64, Option<String>) {
        let figures = self.figures();
        (figures.calls, figures.failed, figures.last_error.clone())
    }

    /// Begins no more calls, waits for those under way, and sums up.
    pub(crate) async fn stop(&self) -> Totals {
        self.stop.notify_one();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // A panic of the load would show as missing calls; there is none to report here.
            let _ = task.await;
        }
        let figures = self.figures();
        let (p50, p99) = percentiles(&figures.latency);
        Totals { calls: figures.calls, failed: figures.failed, p50, p99 }
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn record(latency: &mut Histogram<u64>, micros: u64) {
    // It grows with what it is given, so there is nothing it cannot hold.
    let _ = latency.record(micros);
}

fn percentiles(latency: &Histogram<u64>) -> (f64, f64) {
    let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
    (ms(0.5), ms(0.99))
}
