//! One run of a schedule: the load, the troubles, and what came of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{Method, Request};
use http_body_util::BodyExt as _;
use micro_balance::{State, retry::RetryLayer};
use micro_discover::{Endpoints, Watch};
use tokio::{
    runtime::Builder,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::body::Body;
use tower::BoxError;

use super::{
    ledger::{End, Ledger},
    network::Weather,
    node::{NEAR, Node, WELL},
    registry::{Flaky, Health},
    schedule::{Event, Schedule, Step},
};
use crate::Client;

/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(4);
/// Between two calls.
const BETWEEN: Duration = Duration::from_millis(25);
/// For how long all is well again before it has to show, and for how long it then has to.
const HEALING: Duration = Duration::from_secs(15);
const HEALED: Duration = Duration::from_secs(5);
/// After how long a server knows of a client that went without a word: it asks after a minute, and waits for 20 s.
const FOUND_OUT: Duration = Duration::from_secs(90);

/// What came of a run.
pub(super) struct Run {
    pub(super) calls: u64,
    pub(super) failed: usize,
    pub(super) mistakes: Vec<String>,
    pub(super) transcript: String,
}

impl Run {
    pub(super) fn of(schedule: &Schedule) -> Self {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
        let runtime = runtime.expect("a runtime needs nothing that could be missing");
        // What nobody gave a seed takes it from this thread.
        fastrand::seed(schedule.seed);
        let mut run = runtime.block_on(async { World::new(schedule).await.run(schedule).await });
        let tasks = runtime.metrics().num_alive_tasks();
        if tasks > 0 {
            run.mistakes.push(format!("{tasks} tasks are left over"));
        }
        run
    }
}

struct World {
    began: Instant,
    nodes: Vec<Node>,
    registry: Flaky,
    ledger: Ledger,
    client: Client,
    calls: JoinSet<()>,
    random: fastrand::Rng,
    number: u64,
}

impl World {
    async fn new(schedule: &Schedule) -> Self {
        let seed = schedule.seed;
        let (registry, ledger) = (Flaky::new(), Ledger::default());
        // Names are of the whole process, and runs are many at a time.
        let world = format!("{seed}-{:?}", std::thread::current().id());
        let world = world.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let mut nodes = Vec::new();
        for number in 0..schedule.nodes {
            let mut node = Node::new(&world, number, seed, &registry, &ledger);
            node.start(false).await;
            nodes.push(node);
        }
        let watch = Watch::new(Arc::new(registry.clone()), "greeter").seed(seed);
        let client = Client::builder_over("greeter", Endpoints::new(watch))
            // As a client that watches a registry of its own does: leases may all end while that is away.
            .keep_when_empty(Duration::from_secs(30))
            .timeout(LIMIT)
            .attempt_timeout(Duration::from_secs(1))
            .retry(RetryLayer::new().seed(seed))
            .seed(seed)
            .build();
        let (random, calls) = (fastrand::Rng::with_seed(seed), JoinSet::new());
        Self { began: Instant::now(), nodes, registry, ledger, client, calls, random, number: 0 }
    }

    async fn run(mut self, schedule: &Schedule) -> Run {
        let began = self.began;
        sleep(Duration::from_secs(1)).await;
        for step in &schedule.steps {
            self.load_until(began + step.at).await;
            self.step(step).await;
        }
        self.load_until(began + schedule.end).await;
        self.heal().await;
        self.load_until(Instant::now() + HEALING).await;
        let healed = Instant::now();
        let before = self.ledger.answers();
        self.load_until(healed + HEALED).await;
        self.all_well(&before);
        let from = if schedule.gentle { began } else { healed };
        for failure in self.ledger.failures(from) {
            self.ledger.wrong(failure);
        }
        self.end(began).await
    }

    /// Goes on calling until `then`.
    async fn load_until(&mut self, then: Instant) {
        while Instant::now() + BETWEEN < then {
            sleep(BETWEEN).await;
            self.call();
            while self.calls.try_join_next().is_some() {}
            self.look();
        }
        sleep_until(then).await;
    }

    fn call(&mut self) {
        let (call, repeatable) = (self.number, self.random.u32(0..4) > 0);
        self.number += 1;
        let patience = if self.random.u32(0..20) == 0 { self.random.u64(0..20) } else { 60_000 };
        let (client, ledger) = (self.client.clone(), self.ledger.clone());
        self.calls.spawn(async move {
            ledger.begin(call, repeatable);
            let answered = timeout(Duration::from_millis(patience), ask(client, call, repeatable)).await;
            let end = match answered {
                Ok(Ok(node)) => End::Answered { node },
                Ok(Err(error)) => End::Failed(format!("{error:?}")),
                Err(_) => End::GaveUp,
            };
            ledger.end(call, end, LIMIT);
        });
    }

    /// A set of endpoints that was there once is never empty: there are always some who have not withdrawn.
    fn look(&self) {
        if self.client.endpoints().is_empty() && self.nodes.iter().any(Node::is_running) {
            self.ledger.wrong(format!("no endpoint is known after {:?}", self.began.elapsed()));
        }
    }

    async fn step(&mut self, step: &Step) {
        let node = &mut self.nodes[step.node];
        match step.event {
            Event::Kill => node.kill().await,
            Event::Terminate => drop(self.calls.spawn(node.terminate())),
            Event::Start { same_place } if !node.is_running() => node.start(same_place).await,
            Event::Start { .. } => {}
            Event::Weather(weather) => node.weather(weather),
            Event::Reset => node.reset(),
            Event::Mood(mood) => node.mood(mood),
            Event::Registry(health) => self.registry.set(health),
        }
    }

    async fn heal(&mut self) {
        self.registry.set(Health::Well);
        for node in &mut self.nodes {
            node.weather(Weather::Clear(NEAR));
            node.mood(WELL);
            if !node.is_running() {
                node.start(false).await;
            }
        }
    }

    /// Every node is ready and had at least a quarter of its share since `before`.
    fn all_well(&self, before: &BTreeMap<usize, usize>) {
        let views = self.client.endpoints();
        let ready = views.iter().filter(|view| view.state == State::Ready).count();
        if ready != self.nodes.len() || views.len() != ready {
            self.ledger.wrong(format!("{ready} of {} nodes are ready: {views:?}", self.nodes.len()));
        }
        let answers = self.ledger.answers();
        let since = |node: usize| {
            let count = |of: &BTreeMap<usize, usize>| of.get(&node).copied().unwrap_or(0);
            count(&answers) - count(before)
        };
        let all: usize = (0..self.nodes.len()).map(since).sum();
        for node in 0..self.nodes.len() {
            if since(node) * self.nodes.len() * 4 < all {
                self.ledger.wrong(format!("node {node} had {} of {all} answers", since(node)));
            }
        }
    }

    /// Ends everything, and looks at what is left.
    async fn end(mut self, began: Instant) -> Run {
        while self.calls.join_next().await.is_some() {}
        sleep(Duration::from_secs(1)).await;
        let views = self.client.endpoints();
        if views.iter().any(|view| view.in_flight > 0) {
            self.ledger.wrong(format!("something is still counted as in flight: {views:?}"));
        }
        let found_out = Instant::now() + FOUND_OUT;
        while self.ledger.busy() > 0 && Instant::now() < found_out {
            sleep(Duration::from_secs(1)).await;
        }
        if self.ledger.busy() > 0 {
            self.ledger.wrong(format!("{} handlers are still at work", self.ledger.busy()));
        }
        drop(self.client);
        for node in &mut self.nodes {
            node.kill().await;
        }
        drop(self.nodes);
        sleep(Duration::from_secs(60)).await;
        let ledger = self.ledger;
        let failed = ledger.failures(began).len();
        let transcript = ledger.transcript(began);
        Run { calls: self.number, failed, mistakes: ledger.mistakes(), transcript }
    }
}

/// Makes a call; gives the number of the node that answered.
async fn ask(client: Client, call: u64, repeatable: bool) -> Result<usize, BoxError> {
    let method = if repeatable { Method::GET } else { Method::POST };
    let request = Request::builder().method(method).uri("/").header("x-call", call).body(Body::empty())?;
    let response = client.send(request).await?;
    let status = response.status();
    if !status.is_success() {
        return Err(format!("status {status}").into());
    }
    let body = response.into_body().collect().await?.to_bytes();
    Ok(std::str::from_utf8(&body)?.parse()?)
}
