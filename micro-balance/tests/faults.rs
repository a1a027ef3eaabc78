//! Five nodes, 200 requests a second in an open loop, and one thing that goes wrong: what callers notice of it.
//!
//! The stack is the usual one: retries around a limit for each attempt around the balancer, all with their
//! defaults but for that limit. Time is paused and every choice seeded.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use micro_balance::{Balance, Http, State, policy::PeakEwma, retry::RetryLayer, timeout::TimeoutLayer};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, discover::Change};

/// How a node is just now.
#[derive(Clone, Copy, Debug)]
enum Mood {
    /// Answers after so many milliseconds.
    Answers(u64),
    /// Says 503 to this part of the requests.
    Refuses(f64),
    /// Reads this part of the requests, carries them out, and resets the connection.
    Resets(f64),
    /// Takes requests and never answers.
    Frozen,
}

const WELL: Mood = Mood::Answers(2);

#[derive(Debug)]
struct Inner {
    mood: Mood,
    random: fastrand::Rng,
    /// The number of each request that was carried out.
    carried_out: Vec<usize>,
    calls: usize,
    busy: usize,
}

/// A node of the service.
#[derive(Clone, Debug)]
struct Node(Arc<Mutex<Inner>>);

impl Node {
    fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let inner = Inner { mood: WELL, random, carried_out: Vec::new(), calls: 0, busy: 0 };
        Self(Arc::new(Mutex::new(inner)))
    }

    fn set(&self, mood: Mood) {
        self.0.lock().unwrap().mood = mood;
    }

    fn calls(&self) -> usize {
        self.0.lock().unwrap().calls
    }

    fn busy(&self) -> usize {
        self.0.lock().unwrap().busy
    }
}

struct Busy(Node);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().busy -= 1;
    }
}

type Answer = Result<Response<Full<Bytes>>, BoxError>;

impl<B> Service<Request<B>> for Node {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut inner = self.0.lock().unwrap();
        inner.calls += 1;
        inner.busy += 1;
        let mood = inner.mood;
        let goes_wrong = match mood {
            Mood::Refuses(part) | Mood::Resets(part) => inner.random.f64() < part,
            _ => false,
        };
        if !matches!(mood, Mood::Refuses(_)) || !goes_wrong {
            let number = request.headers()["x-number"].to_str().unwrap().parse().unwrap();
            inner.carried_out.push(number);
        }
        let busy = Busy(self.clone());
        Box::pin(async move {
            let _busy = busy;
            match mood {
                Mood::Answers(ms) => sleep(Duration::from_millis(ms)).await,
                Mood::Frozen => std::future::pending().await,
                Mood::Refuses(_) | Mood::Resets(_) => sleep(Duration::from_millis(2)).await,
            }
            let mut response = Response::new(Full::from("an answer"));
            match mood {
                Mood::Refuses(_) if goes_wrong => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
                Mood::Resets(_) if goes_wrong => return Err("connection reset by peer".into()),
                _ => {}
            }
            Ok(response)
        })
    }
}

struct Fleet {
    nodes: Vec<Node>,
    balance: Balance<Node, Request<micro_balance::retry::ReplayBody<Full<Bytes>>>, PeakEwma, Http>,
    hand: mpsc::UnboundedSender<Result<Change<usize, Node>, Infallible>>,
}

/// What callers noticed.
#[derive(Debug, Default)]
struct Noticed {
    failed: usize,
    millis: Vec<u64>,
}

impl Noticed {
    fn p99(&self) -> u64 {
        self.millis[self.millis.len() * 99 / 100]
    }

    fn max(&self) -> u64 {
        self.millis[self.millis.len() - 1]
    }
}

impl Fleet {
    async fn new() -> Self {
        let (hand, mut changes) = mpsc::unbounded_channel();
        let nodes: Vec<_> = (0..5).map(Node::new).collect();
        for (key, node) in nodes.iter().enumerate() {
            hand.send(Ok(Change::Insert(key, node.clone()))).unwrap();
        }
        let changes = futures_util::stream::poll_fn(move |cx| changes.poll_recv(cx));
        let balance = Balance::builder(changes).protocol(Http).seed(3).build();
        sleep(Duration::from_millis(5)).await;
        Self { nodes, balance, hand }
    }

    /// Sends 200 requests a second, while `trouble` happens.
    async fn load(&self, method: Method, seconds: u64, trouble: impl Future<Output = ()>) -> Noticed {
        let service = ServiceBuilder::new()
            .layer(RetryLayer::new().seed(5))
            .layer(TimeoutLayer::per_attempt(Duration::from_secs(1)))
            .service(self.balance.clone());
        let (mut running, begin) = (JoinSet::new(), Instant::now());
        let arrivals = async {
            for number in 0..seconds * 200 {
                let due = begin + Duration::from_millis(5 * number);
                sleep_until(due).await;
                let request = Request::builder()
                    .method(method.clone())
                    .header("x-number", number)
                    .body(Full::<Bytes>::from("a body"))
                    .unwrap();
                let service = service.clone();
                running.spawn(async move {
                    let answer: Result<Response<_>, BoxError> = service.oneshot(request).await;
                    let well = answer.is_ok_and(|answer| answer.status() == StatusCode::OK);
                    (well, due.elapsed().as_millis() as u64)
                });
            }
        };
        tokio::join!(arrivals, trouble);
        let mut noticed = Noticed::default();
        while let Some(done) = running.join_next().await {
            let (well, millis) = done.unwrap();
            noticed.failed += usize::from(!well);
            noticed.millis.push(millis);
        }
        noticed.millis.sort_unstable();
        noticed
    }

    fn calls(&self) -> usize {
        self.nodes.iter().map(Node::calls).sum()
    }
}

async fn nothing() {}

#[tokio::test(start_paused = true)]
async fn a_frozen_node_costs_nobody_more_than_one_attempts_limit() {
    let fleet = Fleet::new().await;
    let freeze = async {
        sleep(Duration::from_secs(2)).await;
        fleet.nodes[0].set(Mood::Frozen);
    };
    let noticed = fleet.load(Method::GET, 8, freeze).await;
    assert_eq!(noticed.failed, 0);
    assert!(noticed.p99() < 50, "{}", noticed.p99());
    assert!(noticed.max() <= 1_100, "{}", noticed.max());
}

#[tokio::test(start_paused = true)]
async fn a_node_250_times_slower_gets_under_a_fiftieth() {
    let fleet = Fleet::new().await;
    fleet.nodes[0].set(Mood::Answers(500));
    let noticed = fleet.load(Method::GET, 10, nothing()).await;
    assert_eq!(noticed.failed, 0);
    assert!(noticed.p99() < 100, "{}", noticed.p99());
    assert!(fleet.nodes[0].calls() * 50 <= fleet.calls(), "{} of {}", fleet.nodes[0].calls(), fleet.calls());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_refuses_everything_is_found_out_within_five_requests() {
    let fleet = Fleet::new().await;
    let before = fleet.load(Method::GET, 2, nothing()).await;
    assert_eq!(before.failed, 0);
    let had = fleet.nodes[0].calls();
    fleet.nodes[0].set(Mood::Refuses(1.0));
    let noticed = fleet.load(Method::GET, 2, nothing()).await;
    assert_eq!(noticed.failed, 0);
    assert!(fleet.nodes[0].calls() - had <= 5, "{} requests", fleet.nodes[0].calls() - had);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_refuses_a_third_costs_nobody_anything_and_little_load() {
    let fleet = Fleet::new().await;
    fleet.nodes[0].set(Mood::Refuses(0.3));
    let noticed = fleet.load(Method::GET, 10, nothing()).await;
    assert_eq!(noticed.failed, 0);
    assert!(
        fleet.calls() * 100 <= noticed.millis.len() * 106,
        "{} of {}",
        fleet.calls(),
        noticed.millis.len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_resets_half_costs_no_get_anything() {
    let fleet = Fleet::new().await;
    fleet.nodes[0].set(Mood::Resets(0.5));
    let noticed = fleet.load(Method::GET, 10, nothing()).await;
    assert_eq!(noticed.failed, 0);
}

#[tokio::test(start_paused = true)]
async fn when_all_nodes_refuse_retries_add_under_a_fifth() {
    for (calm, seconds) in [(0, 10), (10, 5), (10, 10)] {
        let fleet = Fleet::new().await;
        if calm > 0 {
            assert_eq!(fleet.load(Method::GET, calm, nothing()).await.failed, 0);
        }
        let before = fleet.calls();
        fleet.nodes.iter().for_each(|node| node.set(Mood::Refuses(1.0)));
        let noticed = fleet.load(Method::GET, seconds, nothing()).await;
        let calls = fleet.calls() - before;
        assert_eq!(noticed.failed, noticed.millis.len());
        assert!(
            calls * 10 <= noticed.millis.len() * 12,
            "{calls} for {} after {calm} s",
            noticed.millis.len()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_recovers_is_back_a_second_after_its_ejection_at_most() {
    let fleet = Fleet::new().await;
    let trouble = async {
        fleet.nodes[0].set(Mood::Refuses(1.0));
        sleep(Duration::from_secs(2)).await;
        fleet.nodes[0].set(WELL);
    };
    fleet.load(Method::GET, 5, trouble).await;
    assert_eq!(fleet.balance.endpoints()[0].state, State::Ready);
    let had = fleet.nodes[0].calls();
    fleet.load(Method::GET, 2, nothing()).await;
    let share = fleet.nodes[0].calls() - had;
    assert!((40..=120).contains(&share), "{share} of 400 requests");
}

#[tokio::test(start_paused = true)]
async fn no_post_is_carried_out_twice_when_nodes_reset_after_reading() {
    let fleet = Fleet::new().await;
    fleet.nodes[0].set(Mood::Resets(1.0));
    let noticed = fleet.load(Method::POST, 10, nothing()).await;
    let mut carried_out: Vec<usize> =
        fleet.nodes.iter().flat_map(|node| node.0.lock().unwrap().carried_out.clone()).collect();
    carried_out.sort_unstable();
    let all = carried_out.len();
    carried_out.dedup();
    assert_eq!(carried_out.len(), all, "something was carried out twice");
    assert!(noticed.failed >= 1, "errors surface");
    assert!(noticed.failed * 100 <= noticed.millis.len(), "{} failed", noticed.failed);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_leaves_no_work_behind() {
    let fleet = Fleet::new().await;
    fleet.nodes.iter().for_each(|node| node.set(Mood::Frozen));
    let request = || Request::builder().header("x-number", 0).body(Full::<Bytes>::default()).unwrap();
    let service = ServiceBuilder::new().layer(RetryLayer::new()).service(fleet.balance.clone());
    let calls: Vec<_> = (0..50).map(|_| tokio::spawn(service.clone().oneshot(request()))).collect();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(fleet.nodes.iter().map(Node::busy).sum::<usize>(), 50);
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(fleet.nodes.iter().map(Node::busy).sum::<usize>(), 0);
    assert!(fleet.balance.endpoints().iter().all(|view| view.in_flight == 0));
}

#[tokio::test(start_paused = true)]
async fn half_of_the_nodes_taken_away_cost_nothing() {
    let fleet = Fleet::new().await;
    let remove = async {
        sleep(Duration::from_secs(1)).await;
        fleet.hand.send(Ok(Change::Remove(0))).unwrap();
        fleet.hand.send(Ok(Change::Remove(1))).unwrap();
        sleep(Duration::from_millis(50)).await;
        fleet.nodes[..2].iter().for_each(|node| node.set(Mood::Resets(1.0)));
    };
    assert_eq!(fleet.load(Method::GET, 3, remove).await.failed, 0);
}

#[tokio::test(start_paused = true)]
async fn ten_nodes_replaced_one_after_another_cost_nothing_and_nothing_is_done_twice() {
    let fleet = Fleet::new().await;
    let nodes: Vec<_> = fleet.nodes.iter().cloned().chain((5..15).map(Node::new)).collect();
    let replace = async {
        for old in 0..10 {
            sleep(Duration::from_millis(300)).await;
            fleet.hand.send(Ok(Change::Insert(old + 5, nodes[old + 5].clone()))).unwrap();
            sleep(Duration::from_millis(20)).await;
            fleet.hand.send(Ok(Change::Remove(old))).unwrap();
            // What it has begun it brings to an end, and then it is gone.
            sleep(Duration::from_millis(50)).await;
            nodes[old].set(Mood::Resets(1.0));
        }
    };
    assert_eq!(fleet.load(Method::POST, 5, replace).await.failed, 0);
    let mut done: Vec<_> = nodes.iter().flat_map(|node| node.0.lock().unwrap().carried_out.clone()).collect();
    done.sort_unstable();
    assert_eq!(done, (0..1_000).collect::<Vec<_>>());
}
