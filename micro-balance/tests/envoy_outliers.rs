//! Envoy's tests of its outlier detector, row by row. Time is paused throughout.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Request;
use micro_balance::{
    Balance, Ejection, Endpoint, FailurePercentage, Http, Reason, State, SuccessRate,
    policy::{self, Policy},
};
use serde_json::Value;
use support::{host::Host, settle};
use tokio::time::sleep;
use tower::{ServiceExt, discover::ServiceList};

/// Picks the host that is aimed at.
#[derive(Debug)]
struct Aimed(Arc<AtomicUsize>);

impl Policy for Aimed {
    type Table = ();

    fn table(&self, _: &[Endpoint]) {}

    fn pick(&self, (): &(), endpoints: &[Endpoint], _: &policy::Context<'_>) -> Option<usize> {
        let at = self.0.load(Relaxed).to_string();
        endpoints.iter().position(|endpoint| endpoint.id() == at)
    }
}

/// Some hosts behind a balancer.
struct Fleet {
    hosts: Vec<Host>,
    at: Arc<AtomicUsize>,
    balance: Balance<Host, Request<()>, Aimed, Http>,
}

impl Fleet {
    async fn new(hosts: usize, ejection: Ejection) -> Self {
        let hosts: Vec<_> = (0..hosts).map(|_| Host::new()).collect();
        let at = Arc::<AtomicUsize>::default();
        let balance = Balance::builder(ServiceList::new::<Request<()>>(hosts.clone()))
            .policy(Aimed(at.clone()))
            .protocol(Http)
            .ejection(ejection)
            .build();
        settle().await;
        Self { hosts, at, balance }
    }

    async fn send(&self, host: usize, status: u16) {
        self.at.store(host, Relaxed);
        self.hosts[host].set(status);
        let _ = self.balance.clone().oneshot(Request::new(())).await;
        // The driver hears of it.
        sleep(Duration::from_millis(1)).await;
    }

    fn state(&self, host: usize) -> State {
        self.balance.endpoints()[host].state
    }

    /// Takes one step; `text` is one of those the table explains.
    async fn step(&self, text: &str, of: &str) {
        if let Some(seconds) = text.strip_prefix('+') {
            return sleep(Duration::from_secs(seconds.parse().unwrap())).await;
        }
        let (at, what) = text.split_once('/').unwrap_or(("0", text));
        let hosts = if at == "all" {
            0..self.hosts.len()
        } else {
            at.parse().unwrap()..at.parse::<usize>().unwrap() + 1
        };
        for host in hosts {
            match what {
                "." => assert_eq!(self.state(host), State::Ready, "{of}"),
                "E" => assert_eq!(self.state(host), State::Ejected, "{of}"),
                "H" => assert_eq!(self.state(host), State::HalfOpen, "{of}"),
                statuses => {
                    let (statuses, times) = statuses.split_once('*').unwrap_or((statuses, "1"));
                    for _ in 0..times.parse().unwrap() {
                        for status in statuses.split(',') {
                            self.send(host, status.parse().unwrap()).await;
                        }
                    }
                }
            }
        }
    }
}

fn ejection(case: &Value) -> Ejection {
    let number = |name: &str| case[name].as_u64();
    let mut ejection = Ejection::envoy();
    if case["apart"] == true {
        ejection = ejection.local_failures(5);
    }
    if let Some(percent) = number("percentage") {
        ejection = ejection
            .failure_percentage(FailurePercentage::default().threshold(percent as f64).inclusive(true))
            .enforcing(Reason::FailurePercentage, 0);
    }
    if let Some(hosts) = number("minimum_hosts") {
        ejection = ejection.success_rate(SuccessRate::default().minimum_hosts(hosts as u32));
    }
    ejection = number("base_s").map_or(ejection.clone(), |base| ejection.base(Duration::from_secs(base)));
    ejection = number("max_percent").map_or(ejection.clone(), |percent| ejection.max_percent(percent as u32));
    for reason in Reason::ALL {
        if let Some(percent) = case["enforcing"][reason.name()].as_u64() {
            ejection = ejection.enforcing(reason, percent as u8);
        }
    }
    ejection
}

/// `data/envoy_outliers.json`
#[tokio::test(start_paused = true)]
async fn who_is_ejected_when_and_what_is_counted_are_those_of_envoys_tests() {
    let table: Value = serde_json::from_str(include_str!("data/envoy_outliers.json")).unwrap();
    for case in table["cases"].as_array().unwrap() {
        let fleet = Fleet::new(case["hosts"].as_u64().unwrap_or(2) as usize, ejection(case)).await;
        for (place, step) in case["steps"].as_str().unwrap().split(' ').enumerate() {
            fleet.step(step, &format!("{}, {place}: {step}", case["of"])).await;
        }
        for found in fleet.balance.ejections() {
            let expected = |place: usize| case["figures"][found.reason.name()][place].as_u64().unwrap_or(0);
            let counted = (found.enforced, found.unenforced);
            assert_eq!(counted, (expected(0), expected(1)), "{}, {}", case["of"], found.reason);
        }
    }
}

/// `LargeNumberOfTimeouts`: those that were under way when it was ejected count neither then nor when it is back.
#[tokio::test(start_paused = true)]
async fn what_fails_after_an_ejection_and_was_sent_before_lengthens_and_shortens_nothing() {
    let fleet = Fleet::new(2, Ejection::envoy().local_failures(5)).await;
    fleet.hosts[0].set(support::host::BREAKS);
    futures_util::future::join_all((0..15).map(|_| fleet.balance.clone().oneshot(Request::new(())))).await;
    settle().await;
    for step in ["E", "+29", "E", "+2", "H", "200", ".", "0*4", ".", "0", "E"] {
        fleet.step(step, step).await;
    }
}
