//! What each policy is there for, as simulations under virtual time with chance by seed: the bars are those
//! that others have published for theirs, or that a model of ours gave.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use micro_balance::{
    Balance, Chance, Ejection,
    policy::{LeastRequest, Load, PeakEwma, Policy, Prequal, RandomAperture, RoundRobin},
};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::{BoxError, Service, ServiceExt, discover::ServiceList};

/// A server as a model: how long it takes, and whether it fails.
#[derive(Clone, Debug)]
struct Server {
    kind: Kind,
    chance: Arc<Mutex<Chance>>,
    /// How many requests it has.
    busy: Arc<AtomicU32>,
}

#[derive(Clone, Debug)]
enum Kind {
    /// As many at once as come, each for so long, half more or less.
    Wide(Duration),
    /// One after another, each for a random time with this mean.
    Queue(Duration, Arc<Semaphore>),
    /// Fails after so long.
    Fails(Duration),
    /// As [`Wide`](Self::Wide), but answers nothing any more once it is frozen.
    Freezes(Duration, Arc<AtomicBool>),
}

impl Server {
    fn new(kind: Kind, seed: u64) -> Self {
        Self { kind, chance: Arc::new(Mutex::new(Chance::new(seed))), busy: Arc::default() }
    }

    fn queue(mean: Duration, seed: u64) -> Self {
        Self::new(Kind::Queue(mean, Arc::new(Semaphore::new(1))), seed)
    }
}

impl Service<()> for Server {
    type Response = ();
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let (kind, busy) = (self.kind.clone(), self.busy.clone());
        let random = self.chance.lock().unwrap().fraction();
        Box::pin(async move {
            match kind {
                Kind::Wide(mean) => sleep(mean.mul_f64(0.5 + random)).await,
                Kind::Queue(mean, one) => {
                    busy.fetch_add(1, Relaxed);
                    let turn = one.acquire().await?;
                    sleep(mean.mul_f64(-(1.0 - random).ln())).await;
                    drop(turn);
                    busy.fetch_sub(1, Relaxed);
                }
                Kind::Fails(after) => {
                    sleep(after).await;
                    return Err("failed".into());
                }
                Kind::Freezes(mean, frozen) => {
                    sleep(mean.mul_f64(0.5 + random)).await;
                    if frozen.load(Relaxed) {
                        std::future::pending::<()>().await;
                    }
                }
            }
            Ok(())
        })
    }
}

/// Sends `count` requests at `rate` a second, at random times; how long each took, or nothing if it failed.
async fn run<P: Policy>(
    balance: &Balance<Server, (), P>,
    rate: f64,
    count: usize,
    seed: u64,
) -> Vec<Option<Duration>> {
    let chance = Chance::new(seed);
    let mut requests = Vec::with_capacity(count);
    let began = Instant::now();
    let mut at = Duration::ZERO;
    for _ in 0..count {
        at += Duration::from_secs_f64(-(1.0 - chance.fraction()).ln() / rate);
        tokio::time::sleep_until(began + at).await;
        let balance = balance.clone();
        requests.push(tokio::spawn(async move {
            let began = Instant::now();
            balance.oneshot(()).await.ok().map(|()| began.elapsed())
        }));
    }
    let mut times = Vec::with_capacity(count);
    for request in requests {
        times.push(request.await.unwrap());
    }
    times
}

fn balance<P: Policy>(servers: Vec<Server>, policy: P, seed: u64) -> Balance<Server, (), P> {
    Balance::builder(ServiceList::new::<()>(servers)).policy(policy).seed(seed).build()
}

/// The part of requests that were answered within a second.
fn success(times: &[Option<Duration>]) -> f64 {
    let good = times.iter().flatten().filter(|time| **time <= Duration::from_secs(1)).count();
    good as f64 / times.len() as f64
}

fn percentile(times: &[Option<Duration>], part: f64) -> Duration {
    let mut sorted: Vec<_> = times.iter().flatten().copied().collect();
    sorted.sort_unstable();
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

/// Eleven servers, one of which takes two seconds: linkerd's experiment of 2016.
async fn one_of_eleven_is_slow<P: Policy>(policy: P, seed: u64) -> f64 {
    let server = |n| Server::new(Kind::Wide(Duration::from_millis(if n == 0 { 2_000 } else { 60 })), n);
    let balance = balance((0..11).map(server).collect(), policy, seed);
    success(&run(&balance, 1_000.0, 20_000, seed).await)
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_of_eleven_costs_what_it_costs_others_or_less() {
    for seed in 1..=2 {
        let turns = one_of_eleven_is_slow(RoundRobin::new(), seed).await;
        let least = one_of_eleven_is_slow(LeastRequest, seed).await;
        let peak = one_of_eleven_is_slow(PeakEwma::new(), seed).await;
        assert!(turns < 0.96, "round robin: {turns}");
        assert!(least >= 0.994, "least request: {least}");
        assert!(peak >= 0.999, "peak EWMA: {peak}");
    }
}

/// Ten servers that work off one request after another, one of them five times slower.
async fn queues<P: Policy>(policy: P, load: f64, seed: u64) -> Vec<Option<Duration>> {
    let mean = |n: u64| Duration::from_millis(if n == 0 { 500 } else { 100 });
    let servers: Vec<_> = (0..10).map(|n| Server::queue(mean(n), seed ^ n)).collect();
    let ejection = Ejection::off();
    let balance = Balance::builder(ServiceList::new::<()>(servers.clone()))
        .policy(policy)
        .ejection(ejection)
        .seed(seed)
        .load_probe(|server: Server| async move {
            let Kind::Queue(mean, _) = &server.kind else { return Err("no queue".into()) };
            let in_flight = server.busy.load(Relaxed);
            Ok(Load { in_flight, latency: *mean * (1 + in_flight) })
        })
        .build();
    run(&balance, 92.0 * load, 12_000, seed).await
}

#[tokio::test(start_paused = true)]
async fn latency_and_probes_shorten_the_tail_that_a_slow_server_makes() {
    let least = percentile(&queues(LeastRequest, 0.7, 3).await, 0.99);
    let peak = percentile(&queues(PeakEwma::new().classic(), 0.7, 3).await, 0.99);
    let probed = percentile(&queues(Prequal::new(), 0.7, 3).await, 0.99);
    assert!(peak < least.mul_f64(0.6), "peak EWMA {peak:?}, least request {least:?}");
    let turns = percentile(&queues(RoundRobin::new(), 0.7, 3).await, 0.99);
    assert!(probed < turns / 2, "Prequal {probed:?}, round robin {turns:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_fast_gets_next_to_nothing() {
    for seed in 1..=2 {
        let server = |n| match n {
            0 => Server::new(Kind::Fails(Duration::from_millis(1)), n),
            _ => Server::new(Kind::Wide(Duration::from_millis(30)), n),
        };
        let balance = balance((0..10).map(server).collect(), PeakEwma::new(), seed);
        let times = run(&balance, 500.0, 20_000, seed).await;
        let failed = times.iter().filter(|time| time.is_none()).count();
        assert!(failed < 100, "{failed} of 20000");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_freezes_gets_a_handful_more_though_no_attempt_is_ever_given_up() {
    for seed in 1..=3 {
        let (mean, frozen) = (Duration::from_millis(50), Arc::new(AtomicBool::new(false)));
        let kind = |n| if n == 0 { Kind::Freezes(mean, frozen.clone()) } else { Kind::Wide(mean) };
        let balance = balance((0..10).map(|n| Server::new(kind(n), n)).collect(), PeakEwma::new(), seed);
        let (mut requests, mut got) = (JoinSet::new(), 0);
        // A thousand a second, five at each server at any time: two seconds, and twenty more.
        for millis in 0..22_000 {
            sleep(Duration::from_millis(1)).await;
            requests.spawn(balance.clone().oneshot(()));
            if millis == 2_000 {
                got = balance.endpoints()[0].picks;
                assert!((150..=250).contains(&got), "{got} of 2000");
                frozen.store(true, Relaxed);
            }
        }
        let more = balance.endpoints()[0].picks - got;
        // Those that come before it is silent for longer than it ever took, and one each five seconds.
        assert!(more <= 16, "{more} of 20000 to who answers nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn servers_that_are_alike_share_alike_however_few_requests_come() {
    for seed in 1..=3 {
        let server = |n| Server::new(Kind::Wide(Duration::from_micros(2_000 + 100 * n)), n);
        let balance = balance((0..5).map(server).collect(), PeakEwma::new(), seed);
        run(&balance, 200.0, 1_200, seed).await;
        let most = balance.endpoints().iter().map(|view| view.picks).max();
        assert!(most <= Some(300), "{most:?} of 1200 instead of 240");
    }
}

#[tokio::test(start_paused = true)]
async fn one_stall_of_a_server_is_soon_forgotten() {
    let servers: Vec<_> = (0..4).map(|n| Server::new(Kind::Wide(Duration::from_millis(5)), n)).collect();
    let stalls = Server { kind: Kind::Wide(Duration::from_millis(400)), ..servers[0].clone() };
    let (hand, changes) = tokio::sync::mpsc::unbounded_channel();
    let change = |n: usize, server: &Server| {
        Ok::<_, std::convert::Infallible>(tower::discover::Change::Insert(n, server.clone()))
    };
    servers.iter().enumerate().for_each(|(n, server)| hand.send(change(n, server)).unwrap());
    let changes = tokio_stream::wrappers::UnboundedReceiverStream::new(changes);
    let balance: Balance<_, ()> = Balance::builder(changes).seed(5).build();
    run(&balance, 400.0, 800, 5).await;
    hand.send(change(0, &stalls)).unwrap();
    run(&balance, 400.0, 80, 6).await;
    hand.send(change(0, &servers[0])).unwrap();
    run(&balance, 400.0, 800, 7).await;
    let before = balance.endpoints()[0].picks;
    run(&balance, 400.0, 2_000, 8).await;
    let share = balance.endpoints()[0].picks - before;
    assert!((250..=750).contains(&share), "{share} of 2000, two seconds after a stall");
}

#[tokio::test(start_paused = true)]
async fn probes_are_three_a_request_and_what_they_found_lasts_a_second() {
    let servers: Vec<_> = (0..10).map(|n| Server::new(Kind::Wide(Duration::from_millis(10)), n)).collect();
    let probes = Arc::new(Mutex::new(0));
    let counter = probes.clone();
    let balance: Balance<_, (), _> = Balance::builder(ServiceList::new::<()>(servers.clone()))
        .policy(Prequal::new())
        .seed(4)
        .load_probe(move |server: Server| {
            *counter.lock().unwrap() += 1;
            // By its own account only the first of them is fast.
            let Kind::Wide(_) = server.kind else { panic!("another server") };
            let first = Arc::ptr_eq(&server.chance, &servers[0].chance);
            let latency = Duration::from_millis(if first { 1 } else { 100 });
            async move { Ok(Load { in_flight: 1, latency }) }
        })
        .build();
    run(&balance, 100.0, 2_000, 1).await;
    let sent = *probes.lock().unwrap();
    assert!((3_000..=6_000).contains(&sent), "{sent} probes for 2000 requests");
    let first = balance.endpoints()[0].picks;
    assert!(first > 500, "{first} of 2000 to the best of ten");
    // Long after the last probe all are alike again: single requests, far apart, go anywhere.
    let before = balance.endpoints()[0].picks;
    for _ in 0..200 {
        sleep(Duration::from_secs(2)).await;
        balance.clone().oneshot(()).await.unwrap();
    }
    let after = balance.endpoints()[0].picks - before;
    assert!(after < 45, "{after} of 200 by what was found seconds ago");
}

#[tokio::test(start_paused = true)]
async fn an_aperture_opens_with_load_and_closes_without() {
    let servers: Vec<_> = (0..20).map(|n| Server::new(Kind::Wide(Duration::from_millis(100)), n)).collect();
    let balance = balance(servers, RandomAperture::new().seed(3), 2);
    let used = |before: &[u64]| {
        let picks = balance.endpoints().into_iter().map(|view| view.picks);
        picks.zip(before).filter(|(now, before)| *now > **before).count()
    };
    let picks = || -> Vec<u64> { balance.endpoints().into_iter().map(|view| view.picks).collect() };
    run(&balance, 5.0, 200, 1).await;
    assert!(used(&[0; 20]) <= 2, "half a request at a time: {}", used(&[0; 20]));
    run(&balance, 100.0, 9_000, 2).await;
    let before = picks();
    run(&balance, 100.0, 1_000, 3).await;
    assert!((7..=14).contains(&used(&before)), "ten requests at a time: {}", used(&before));
    run(&balance, 5.0, 1_000, 4).await;
    let before = picks();
    run(&balance, 5.0, 100, 5).await;
    assert!(used(&before) <= 3, "half a request at a time again: {}", used(&before));
}

/// Many clients of the same servers, each of which knows little of the load by itself: the scenario of
/// Prequal's paper, <https://www.usenix.org/conference/nsdi24/presentation/wydrowski>. Two of ten servers are
/// three times slower.
async fn crowd<P: Policy>(policy: impl Fn() -> P, load: f64, seed: u64) -> Vec<Option<Duration>> {
    const CLIENTS: u64 = 20;
    let mean = |n: u64| Duration::from_millis(if n < 2 { 300 } else { 100 });
    let servers: Vec<_> = (0..10).map(|n| Server::queue(mean(n), seed ^ n)).collect();
    let client = |n: u64| {
        Balance::builder(ServiceList::new::<()>(servers.clone()))
            .policy(policy())
            .ejection(Ejection::off())
            .seed(seed ^ (n << 8))
            .load_probe(|server: Server| async move {
                let Kind::Queue(mean, _) = &server.kind else { return Err("no queue".into()) };
                let in_flight = server.busy.load(Relaxed);
                Ok(Load { in_flight, latency: *mean * (1 + in_flight) })
            })
            .build()
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    // Eight of ten requests a second, and two of three and a third.
    let rate = (8.0 * 10.0 + 2.0 * 10.0 / 3.0) * load / CLIENTS as f64;
    let all = clients.iter().zip(1..).map(|(client, n)| run(client, rate, 500, seed ^ (n << 16)));
    futures_util::future::join_all(all).await.into_iter().flatten().collect()
}

#[tokio::test(start_paused = true)]
async fn among_many_clients_probes_beat_what_each_client_knows_by_itself() {
    for seed in 1..=2 {
        let least = percentile(&crowd(|| LeastRequest, 0.8, seed).await, 0.99);
        let probed = percentile(&crowd(Prequal::new, 0.8, seed).await, 0.99);
        assert!(probed < least.mul_f64(0.5), "seed {seed}: Prequal {probed:?}, least request {least:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn probes_keep_an_overload_from_falling_on_a_few() {
    // A tenth more than the servers can do: what waits at the end is the overload, shared by all.
    let times = crowd(Prequal::new, 1.1, 1).await;
    let worst = percentile(&times, 0.999);
    let turns = percentile(&crowd(RoundRobin::new, 1.1, 1).await, 0.999);
    assert!(worst < turns / 3, "Prequal {worst:?}, round robin {turns:?}");
}
