//! Real processes, killed for real: what fails, and what must not.

use std::{
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use examples::{
    broker::Broker,
    proto::{HelloRequest, greeter_client::GreeterClient},
};
use micro_balance::{
    Repeatable, State,
    retry::{Budget, RetryLayer},
};
use micro_tower::Client;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

/// Calls under way at once.
const WIDTH: usize = 64;

/// Three replicas as processes of their own, which die with this.
struct Replicas {
    directory: tempfile::TempDir,
    listen: String,
    children: Vec<Child>,
}

/// Where replicas listen that need no broker.
const TCP: &str = "http://127.0.0.1:0";

impl Replicas {
    fn start(listen: &str) -> Self {
        let mut replicas = Self {
            directory: tempfile::tempdir().expect("there is room for a directory"),
            listen: listen.to_owned(),
            children: Vec::new(),
        };
        for number in 0..3 {
            let child = replicas.spawn(number);
            replicas.children.push(child);
        }
        replicas
    }

    fn registry(&self) -> String {
        format!("file:{}", self.directory.path().display())
    }

    fn spawn(&self, number: usize) -> Child {
        Command::new(env!("CARGO_BIN_EXE_greeter"))
            .args(["replica", &format!("replica-{number}"), "--listen", &self.listen])
            .env("MICRO_REGISTRY", self.registry())
            .stdin(Stdio::piped())
            .spawn()
            .expect("the greeter was built")
    }

    /// Tells one to stop, waits until it has, and starts it again.
    fn restart(&mut self, number: usize) {
        let pid = Pid::from_raw(self.children[number].id().cast_signed()).expect("it runs");
        kill_process(pid, Signal::TERM).expect("it can be told");
        let status = self.children[number].wait().expect("it ends");
        assert!(status.success(), "replica-{number} ended with {status}");
        self.children[number] = self.spawn(number);
    }

    async fn client(&self) -> Client {
        let registry = micro_discover::open(&self.registry()).expect("the registry is a directory");
        // All calls under way may be at the replica that is killed, and on a slow machine there were hardly any before.
        let retry = RetryLayer::new().budget(Budget::concurrent(100.0, 1).expect("it is a share"));
        let client =
            Client::builder("greeter", registry).timeout(Duration::from_secs(10)).retry(retry).build();
        all_ready(&client).await;
        client
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn all_ready(client: &Client) {
    let began = Instant::now();
    while client.endpoints().iter().filter(|view| view.state == State::Ready).count() < 3 {
        assert!(began.elapsed() < Duration::from_secs(20), "not ready: {:?}", client.endpoints());
        sleep(Duration::from_millis(10)).await;
    }
}

/// A call that failed: when it began, and why.
type Failure = (Instant, tonic::Status);

/// Calls from 64 tasks until `stop`; gives the number of calls and those that failed.
async fn load(client: Client, repeatable: bool, stop: Arc<AtomicBool>) -> (usize, Vec<Failure>) {
    let tasks = (0..WIDTH).map(|_| {
        let (client, stop) = (client.clone(), stop.clone());
        tokio::spawn(async move {
            let (mut calls, mut failures) = (0, Vec::new());
            while !stop.load(Relaxed) {
                let mut request = tonic::Request::new(HelloRequest { name: "John".to_owned() });
                if repeatable {
                    request.extensions_mut().insert(Repeatable);
                }
                let began = Instant::now();
                calls += 1;
                if let Err(status) = GreeterClient::new(client.clone()).hello(request).await {
                    failures.push((began, status));
                }
            }
            (calls, failures)
        })
    });
    let mut total = (0, Vec::new());
    for task in tasks.collect::<Vec<_>>() {
        let (calls, failures) = task.await.expect("no call panics");
        total.0 += calls;
        total.1.extend(failures);
    }
    total
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replica_fails_no_call_that_may_be_repeated_and_else_only_what_was_sent_to_it() {
    one_is_killed(TCP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_one_that_is_called_over_nats() {
    let Some(broker) = Broker::or_skip(Broker::nats()) else { return };
    one_is_killed(broker.url()).await;
}

async fn one_is_killed(listen: &str) {
    for repeatable in [true, false] {
        let mut replicas = Replicas::start(listen);
        let client = replicas.client().await;
        let stop = Arc::new(AtomicBool::new(false));
        let calls = tokio::spawn(load(client.clone(), repeatable, stop.clone()));
        sleep(Duration::from_millis(500)).await;
        replicas.children[0].kill().expect("it runs");
        replicas.children[0].wait().expect("it ends");
        let killed = Instant::now();
        sleep(Duration::from_millis(1_500)).await;
        stop.store(true, Relaxed);
        let (calls, failures) = calls.await.expect("no call panics");
        assert!(calls > WIDTH, "only {calls} calls");
        if repeatable {
            assert!(failures.is_empty(), "{} of {calls} failed: {:?}", failures.len(), failures[0]);
        }
        // What was under way to it may fail, until the client has heard of it; nothing after that.
        let heard = killed + Duration::from_millis(500);
        assert!(failures.len() <= 2 * WIDTH, "{} failed", failures.len());
        for (began, status) in failures {
            assert!(began <= heard, "began long after the kill, and failed: {status}");
            assert!(!status.message().contains("not sent"), "failed though it was not sent: {status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_restarted_in_turn_fail_no_call_of_either_kind() {
    for repeatable in [true, false] {
        let mut replicas = Replicas::start(TCP);
        let client = replicas.client().await;
        let stop = Arc::new(AtomicBool::new(false));
        let calls = tokio::spawn(load(client.clone(), repeatable, stop.clone()));
        for number in 0..3 {
            replicas = tokio::task::spawn_blocking(move || {
                replicas.restart(number);
                replicas
            })
            .await
            .expect("restarting does not panic");
            all_ready(&client).await;
        }
        stop.store(true, Relaxed);
        let (calls, failures) = calls.await.expect("no call panics");
        assert!(calls > WIDTH, "only {calls} calls");
        assert!(failures.is_empty(), "{} of {calls} failed: {:?}", failures.len(), failures[0]);
    }
}
