//! Limits, throttling and failing fast, against a service that answers by a script and a simulated one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;
mod support;

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use micro_balance::{
    Balance, Http, NotSent, Overloaded, Unsent, cause,
    failfast::FailfastLayer,
    limit::{Aimd, Algorithm, Gradient, Gradient2, LimitLayer, Sample, Vegas},
    policy::RoundRobin,
    retry::RetryLayer,
    throttle::ThrottleLayer,
};
use scripted::*;
use serde_json::Value;
use tokio::{
    sync::Semaphore,
    time::{Instant, advance, sleep},
};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{BoxError, ServiceExt, discover::Change};
use tower_layer::Layer;
use tower_service::Service;

const MS: Duration = Duration::from_millis(1);

/// Starts a request on a service that is ready.
fn start<S>(service: &S, request: Request<Frames>) -> task::Spawn<S::Future>
where
    S: Service<Request<Frames>> + Clone,
    S::Error: std::fmt::Debug,
{
    let mut service = service.clone();
    let mut ready = task::spawn(());
    ready.enter(|cx, _| assert_ready_ok!(service.poll_ready(cx)));
    task::spawn(service.call(request))
}

fn overloaded(error: &BoxError) -> String {
    assert!(NotSent::is(error.as_ref()));
    cause::<Overloaded>(error.as_ref()).unwrap().to_string()
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_a_place_at_an_endpoint_that_was_lost_meanwhile_goes_elsewhere() {
    let ([a, b], _hand, changes) = support::fakes(["a", "b"], support::Mood::Answers(10 * MS));
    let changes = changes.map(|change| {
        change.map(|change| match change {
            // Each has a limit of its own.
            Change::Insert(name, fake) => {
                Change::Insert(name, LimitLayer::new(1).queue(9, 1000 * MS).layer(fake))
            }
            Change::Remove(name) => Change::Remove(name),
        })
    });
    let balance = Balance::builder(changes).policy(RoundRobin::starting_at(0)).build();
    sleep(5 * MS).await;
    let requests: Vec<_> = (0..4).map(|_| tokio::spawn(balance.clone().oneshot(()))).collect();
    sleep(5 * MS).await;
    a.set(support::Mood::Refuses);
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.await.unwrap().unwrap());
    }
    assert_eq!((answers, b.calls()), (vec!["a", "b", "b", "b"], 3));
}

#[tokio::test(start_paused = true)]
async fn one_more_than_allowed_is_turned_away_and_handed_back() {
    let layer = LimitLayer::new(3);
    let inner = Scripted::new((0..4).map(|_| Answer::Hang));
    let service = layer.layer(inner.clone());
    let mut under_way: Vec<_> = (0..3).map(|_| start(&service, get("/"))).collect();
    under_way.iter_mut().for_each(|request| assert_pending!(request.poll()));
    // Another service of the same layer has the same limit.
    let mut more = start(&layer.layer(inner.clone()), get("/more"));
    let error = assert_ready_err!(more.poll());
    assert_eq!(overloaded(&error), "as many requests are under way as are allowed, 3");
    let (request, _) = Unsent::<Request<Frames>>::take(error).unwrap();
    assert_eq!(request.uri().path(), "/more");
    assert_eq!((layer.in_flight(), inner.attempts().len()), (3, 3));

    under_way.pop();
    assert_eq!(layer.in_flight(), 2, "given up is over");
    assert_pending!(start(&service, get("/")).poll());
}

#[tokio::test(start_paused = true)]
async fn waiting_requests_have_their_turn_in_order_and_are_bounded() {
    let layer = LimitLayer::new(1).queue(2, 100 * MS);
    let inner = Scripted::new([Answer::Wait(10 * MS), Answer::Wait(10 * MS), status(200, &[])]);
    let service = layer.layer(inner.clone());
    let mut first = start(&service, get("/1"));
    assert_pending!(first.poll());
    let mut second = start(&service, get("/2"));
    let mut third = start(&service, get("/3"));
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    let error = assert_ready_err!(start(&service, get("/4")).poll());
    assert_eq!(overloaded(&error), "as many requests are waiting as are allowed, 2");
    assert_eq!((layer.in_flight(), layer.waiting()), (1, 2));

    advance(10 * MS).await;
    assert_ready_ok!(first.poll());
    drop(first);
    assert!(second.is_woken() && !third.is_woken());
    assert_pending!(second.poll());
    assert_eq!(layer.waiting(), 1);
    // One that gives up waiting leaves no trace.
    drop(second);
    assert!(third.is_woken());
    assert_ready_ok!(third.poll());
    drop(third);
    assert_eq!((layer.in_flight(), layer.waiting()), (0, 0));
    let paths: Vec<_> = inner.attempts().iter().map(|attempt| attempt.uri.path().to_owned()).collect();
    assert_eq!(paths, ["/1", "/2", "/3"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_allowed() {
    let layer = LimitLayer::new(1).queue(10, 100 * MS);
    let inner = Scripted::new([Answer::Hang, Answer::Hang]);
    let service = layer.layer(inner.clone());
    let mut first = start(&service, get("/"));
    assert_pending!(first.poll());
    let began = Instant::now();
    let error = service.clone().oneshot(get("/")).await.unwrap_err();
    assert_eq!(
        (began.elapsed(), overloaded(&error).as_str()),
        (100 * MS, "the request had to wait longer than 100ms")
    );
    // A service that is not ready when the turn comes does not hold the place for ever.
    let mut second = start(&service, get("/"));
    assert_pending!(second.poll());
    inner.be_busy(u32::MAX);
    drop(first);
    assert_pending!(second.poll());
    assert_eq!(layer.in_flight(), 1);
    advance(100 * MS).await;
    overloaded(&assert_ready_err!(second.poll()));
    drop(second);
    assert_eq!((layer.in_flight(), layer.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_http_request_lasts_to_the_end_of_its_answer() {
    let layer = LimitLayer::new(1).http();
    let inner = Scripted::new([grpc_trailers(&["x"], 0, &[]), grpc_silent(), status(200, &[])]);
    let service = layer.layer(inner.clone());
    let answer = service.clone().oneshot(get("/")).await.unwrap();
    assert_eq!(layer.in_flight(), 1);
    collect(answer.into_body()).await;
    assert_eq!(layer.in_flight(), 0);
    let answer = service.clone().oneshot(get("/")).await.unwrap();
    assert_eq!(layer.in_flight(), 1);
    drop(answer);
    assert_eq!(layer.in_flight(), 0);
    let _empty = service.oneshot(get("/")).await.unwrap();
    assert_eq!(layer.in_flight(), 0, "nothing is to come");
}

#[tokio::test]
async fn after_many_requests_of_every_kind_nothing_is_left() {
    let layer = LimitLayer::new(7).queue(9, 5 * MS);
    let service = layer.layer(tower::service_fn(|n: u32| async move {
        match n % 5 {
            0 => Err("failed"),
            1 => std::future::pending().await,
            _ => {
                tokio::task::yield_now().await;
                Ok(n)
            }
        }
    }));
    let tasks: Vec<_> = (0..100_000_u32)
        .map(|n| {
            let service = service.clone();
            tokio::spawn(async move {
                tokio::time::timeout(Duration::from_micros(u64::from(n % 50)), service.oneshot(n))
                    .await
                    .is_ok()
            })
        })
        .collect();
    for task in tasks {
        let _ = task.await.unwrap();
    }
    assert_eq!((layer.in_flight(), layer.waiting()), (0, 0));
    let all: Vec<_> = (0..7).map(|_| layer.layer(Scripted::new([Answer::Hang]))).collect();
    let mut under_way: Vec<_> = all.iter().map(|service| start(service, get("/"))).collect();
    under_way.iter_mut().for_each(|request| assert_pending!(request.poll()));
    assert_eq!(layer.in_flight(), 7, "every place is free again");
}

/// Gives the limits it is told, one a sample.
#[derive(Debug)]
struct Told(Arc<AtomicU32>, Arc<Mutex<Vec<(u32, bool)>>>);

impl Algorithm for Told {
    fn limit(&self) -> u32 {
        self.0.load(Relaxed)
    }

    fn update(&mut self, sample: Sample) -> u32 {
        self.1.lock().unwrap().push((sample.in_flight, sample.dropped));
        self.limit()
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_moves_is_kept_exactly() {
    let (limit, samples) = (Arc::new(AtomicU32::new(4)), Arc::default());
    let layer = LimitLayer::adaptive(Told(limit.clone(), Arc::clone(&samples))).window(Duration::ZERO).http();
    let inner = Scripted::default();
    let service = layer.layer(inner.clone());
    let fill = || {
        let mut under_way = Vec::new();
        loop {
            inner.push(Answer::Wait(MS));
            let mut request = start(&service, get("/"));
            match request.poll() {
                Poll::Pending => under_way.push(request),
                Poll::Ready(_) => break inner.forget(),
            }
        }
        under_way
    };
    for next in [2, 7, 1, 1, 50, 3, 4] {
        let before = limit.swap(next, Relaxed);
        let mut under_way = fill();
        assert_eq!(under_way.len() as u32, before);
        advance(2 * MS).await;
        // The first answer brings the new limit while the others are still under way.
        for request in &mut under_way {
            drop(assert_ready_ok!(request.poll()));
        }
        drop(under_way);
        assert_eq!((layer.limit(), layer.in_flight()), (next, 0));
    }
    assert_eq!(fill().len(), 4);
    assert!(samples.lock().unwrap().iter().all(|(_, dropped)| !dropped));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_falls_and_rises_again_while_all_of_it_is_in_use_loses_no_place() {
    let (limit, samples) = (Arc::new(AtomicU32::new(10)), Arc::default());
    let layer = LimitLayer::adaptive(Told(limit.clone(), Arc::clone(&samples))).window(Duration::ZERO).http();
    let inner = Scripted::new((1..=10).map(|ms| Answer::Wait(ms * MS)));
    let service = layer.layer(inner.clone());
    let mut under_way: Vec<_> = (0..10).map(|_| start(&service, get("/"))).collect();
    under_way.iter_mut().for_each(|request| assert_pending!(request.poll()));
    for (request, next) in under_way.iter_mut().zip([4, 8, 3, 10, 10, 10, 10, 10, 10, 10]) {
        limit.store(next, Relaxed);
        advance(MS).await;
        drop(assert_ready_ok!(request.poll()));
        assert_eq!(layer.limit(), next);
    }
    inner.forget();
    let taken = std::iter::from_fn(|| {
        inner.push(Answer::Hang);
        let mut request = start(&service, get("/"));
        request.poll().is_pending().then_some(request)
    });
    assert_eq!(taken.collect::<Vec<_>>().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn failures_and_statuses_of_overload_are_told_and_what_was_not_sent_is_not() {
    let samples: Arc<Mutex<Vec<(u32, bool)>>> = Arc::default();
    let layer = LimitLayer::adaptive(Told(Arc::new(AtomicU32::new(9)), Arc::clone(&samples)))
        .window(Duration::ZERO)
        .http();
    let inner = Scripted::new([
        status(200, &[]),
        status(503, &[]),
        status(500, &[]),
        grpc(8, &[]),
        fail("reset by peer"),
        status(200, &[]),
        fail(NotSent::new("refused")),
        grpc_trailers(&["a"], 13, &[]),
        grpc_trailers(&["a"], 8, &[]),
        Answer::Hang,
    ]);
    let service = layer.layer(inner);
    for _ in 0..9 {
        if let Ok(answer) = service.clone().oneshot(get("/")).await {
            collect(answer.into_body()).await;
        }
    }
    assert_pending!(start(&service, get("/")).poll());
    let dropped: Vec<_> = samples.lock().unwrap().iter().map(|sample| sample.1).collect();
    // What trailers tell comes after what the head did.
    assert_eq!(dropped, [false, true, false, true, true, false, false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn no_limit_begins_out_of_its_range_and_stays_there_for_want_of_load() {
    let limits = [
        LimitLayer::adaptive(Aimd::default().initial(5_000).range(5, 200)),
        LimitLayer::adaptive(Vegas::default().initial(5_000).max(200)),
        LimitLayer::adaptive(Gradient2::default().initial(5_000).range(5, 200)),
        LimitLayer::adaptive(Gradient2::default().initial(1).range(200, 200)),
    ];
    for layer in limits {
        let layer = layer.window(Duration::ZERO);
        assert_eq!(layer.limit(), 200, "{layer:?}");
        let service = layer.layer(Scripted::new((0..20).map(|_| status(200, &[]))));
        for _ in 0..20 {
            service.clone().oneshot(get("/")).await.unwrap();
        }
        assert!((150..=200).contains(&layer.limit()), "{layer:?}");
    }
    // It falls from there as from anywhere, once answers take longer.
    let (mut vegas, mut gradient) =
        (Vegas::default().initial(5_000).max(200), Gradient2::default().initial(5_000).range(5, 200));
    for answer in [1, 1, 20, 40, 80] {
        let sample = Sample { latency: answer * MS, in_flight: 200, dropped: false };
        let _ = (vegas.update(sample), gradient.update(sample));
    }
    assert!(vegas.limit() < 200 && gradient.limit() < 200, "{vegas:?} {gradient:?}");
}

/// A service with ten workers, each of which takes 10 ms, and an endless queue.
fn server(
    workers: &Arc<Semaphore>,
) -> impl Service<u32, Response = u32, Error = BoxError, Future = Work> + Clone + use<> {
    let workers = workers.clone();
    tower::service_fn(move |n| {
        let workers = workers.clone();
        Box::pin(async move {
            let _worker = workers.acquire().await?;
            sleep(10 * MS).await;
            Ok(n)
        }) as Work
    })
}

type Work = Pin<Box<dyn Future<Output = Result<u32, BoxError>> + Send>>;

/// Offers `offered` requests a second: those answered a second, their p99.
async fn offer<S>(service: &S, offered: u32, seconds: u32) -> (u32, Duration)
where
    S: Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    let latencies = Arc::new(Mutex::new(Vec::new()));
    for n in 0..seconds * offered {
        let (service, latencies) = (service.clone(), latencies.clone());
        tokio::spawn(async move {
            let began = Instant::now();
            if service.oneshot(n).await.is_ok() {
                latencies.lock().unwrap().push(began.elapsed());
            }
        });
        if n.is_multiple_of(offered / 500) {
            sleep(2 * MS).await;
        }
    }
    let mut latencies = std::mem::take(&mut *latencies.lock().unwrap());
    latencies.sort();
    (latencies.len() as u32 / seconds, latencies[latencies.len() * 99 / 100])
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_server_keeps_its_goodput_and_nearly_its_latency() {
    // Its capacity is 1000 a second, in 10 ms each; 3000 are offered.
    let vegas = LimitLayer::adaptive(Vegas::default().seed(1));
    let aimd = LimitLayer::adaptive(Aimd::default().range(1, 200).timeout(15 * MS));
    for layer in [vegas, aimd] {
        let workers = Arc::new(Semaphore::new(10));
        let service = layer.layer(server(&workers));
        offer(&service, 500, 10).await;
        let (goodput, p99) = offer(&service, 3000, 20).await;
        assert!(goodput >= 850 && p99 <= 20 * MS, "{goodput}/s, p99 {p99:?}, limit {}", layer.limit());
        // Half of the workers go. After ten seconds at most the limit follows; Vegas may just have measured
        // its fastest answer under load, and then lets twice as many wait.
        workers.acquire_many(5).await.unwrap().forget();
        offer(&service, 3000, 10).await;
        let (goodput, p99) = offer(&service, 3000, 5).await;
        assert!(goodput >= 425 && p99 <= 40 * MS, "{goodput}/s, p99 {p99:?}, limit {}", layer.limit());
    }
    // Envoy's gradient grows to its most while few come, and has to come down first.
    let layer = LimitLayer::adaptive(Gradient::default().range(3, 200).seed(1));
    let workers = Arc::new(Semaphore::new(10));
    let service = layer.layer(server(&workers));
    offer(&service, 500, 10).await;
    assert_eq!(layer.limit(), 200);
    offer(&service, 3000, 2).await;
    let (goodput, p99) = offer(&service, 3000, 20).await;
    assert!(goodput >= 850 && p99 <= 25 * MS, "{goodput}/s, p99 {p99:?}, limit {}", layer.limit());
    workers.acquire_many(5).await.unwrap().forget();
    offer(&service, 3000, 2).await;
    let (goodput, p99) = offer(&service, 3000, 5).await;
    assert!(goodput >= 425 && p99 <= 40 * MS, "{goodput}/s, p99 {p99:?}, limit {}", layer.limit());
    // Gradient2 takes what lasts for what is usual, so it is held to the first seconds.
    let layer = LimitLayer::adaptive(Gradient2::default().range(1, 200));
    let service = layer.layer(server(&Arc::new(Semaphore::new(10))));
    offer(&service, 500, 10).await;
    let (goodput, p99) = offer(&service, 3000, 5).await;
    assert!(goodput >= 850 && p99 <= 25 * MS, "{goodput}/s, p99 {p99:?}, limit {}", layer.limit());
}

#[tokio::test(start_paused = true)]
async fn throttling_lets_through_what_has_a_chance() {
    let layer = ThrottleLayer::new().seed(7).http();
    let sent = Arc::new(AtomicU32::new(0));
    // One in ten is accepted.
    let service = layer.layer(tower::service_fn({
        let sent = sent.clone();
        move |_: Request<Frames>| {
            let n = sent.fetch_add(1, Relaxed);
            let Answer::Respond(answer) = status(if n.is_multiple_of(10) { 200 } else { 503 }, &[]) else {
                panic!()
            };
            std::future::ready(Ok::<_, BoxError>(answer))
        }
    }));
    let mut turned_away = 0;
    for _ in 0..10_000 {
        if let Err(error) = service.clone().oneshot(get("/")).await {
            overloaded(&error);
            turned_away += 1;
        }
    }
    // Twice what is accepted would be sent. With a tenth of that accepted there is no balance: the part sent
    // shrinks on and on.
    assert!((9_000..9_990).contains(&turned_away), "{turned_away}");
    assert_eq!(sent.load(Relaxed) + turned_away, 10_000);
    assert!(layer.rejection() > 0.9);
    // Everything is forgotten after two minutes.
    advance(Duration::from_secs(120)).await;
    assert_eq!(layer.rejection(), 0.0);
    assert!(service.oneshot(get("/")).await.is_ok());
}

/// Whoever has not answered yet has turned nobody away.
#[tokio::test(start_paused = true)]
async fn many_requests_at_once_before_the_first_answer_are_all_let_through() {
    let layer = ThrottleLayer::new().seed(7).http();
    let inner = Scripted::new((0..100).map(|_| Answer::Wait(20 * MS)));
    let service = layer.layer(inner.clone());
    let requests = (0..100).map(|_| service.clone().oneshot(get("/")));
    let answers = futures_util::future::join_all(requests).await;
    assert!(answers.iter().all(Result::is_ok) && layer.rejection() == 0.0, "{}", layer.rejection());
    // Those that end without an answer count all the same.
    for _ in 0..300 {
        inner.push(Answer::Hang);
        let _ = tokio::time::timeout(MS, service.clone().oneshot(get("/"))).await;
    }
    assert!(layer.rejection() > 0.0);
}

#[tokio::test(start_paused = true)]
async fn throttling_follows_its_formula_and_leaves_the_healthy_alone() {
    let layer = ThrottleLayer::new().seed(7).k(2.0).unwrap();
    let inner =
        Scripted::new((0..100).map(|n| if n % 2 == 0 { status(200, &[]) } else { fail("overloaded") }));
    let service = layer.layer(inner.clone());
    for _ in 0..100 {
        let _ = service.clone().oneshot(get("/")).await;
    }
    assert_eq!((inner.attempts().len(), layer.rejection()), (100, 0.0), "half accepted is all let through");
    // 20 failures more: (120 - 2 * 50) / 121, but for those turned away in between.
    (0..20).for_each(|_| inner.push(fail("overloaded")));
    for _ in 0..20 {
        let _ = service.clone().oneshot(get("/")).await;
    }
    assert!((layer.rejection() - 20.0 / 121.0).abs() < 1e-9, "{}", layer.rejection());
    assert!(ThrottleLayer::new().k(0.5).is_err() && ThrottleLayer::new().k(f64::NAN).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_seed_has_throttling_turn_the_same_requests_away_each_time() {
    let turned_away = async |seed: u64| {
        let layer = ThrottleLayer::new().http().seed(seed);
        let service = layer.layer(Scripted::new((0..200).map(|_| status(503, &[]))));
        let mut turned_away = Vec::new();
        for _ in 0..100 {
            let answer = service.clone().oneshot(get("/")).await;
            turned_away.push(answer.is_err());
        }
        turned_away
    };
    let (first, other) = (turned_away(1).await, turned_away(2).await);
    assert!(first == turned_away(1).await && first != other && first.contains(&false), "{first:?}");
}

/// A hundred requests at once, so many of which go well.
async fn hundred(layer: ThrottleLayer<Http>, well: u64) -> f64 {
    let answers = (0..100).map(|n| late(MS, if n < well { 200 } else { 500 }, &[]));
    let service = layer.layer(Scripted::new(answers));
    futures_util::future::join_all((0..100).map(|_| service.clone().oneshot(get("/")))).await;
    layer.rejection()
}

#[tokio::test(start_paused = true)]
async fn by_the_success_rate_as_many_are_turned_away_as_by_envoy() {
    let data: Value = serde_json::from_str(include_str!("data/envoy_admission_control.json")).unwrap();
    for rule in data["rejection"].as_array().unwrap() {
        let number = |name: &str| rule[name].as_f64().unwrap();
        for row in rule["rows"].as_array().unwrap() {
            let layer = ThrottleLayer::envoy().k(1.0 / number("threshold")).unwrap().http();
            let layer = layer.aggression(number("aggression")).unwrap().at_most(number("most")).unwrap();
            let (part, expected) = (hundred(layer, row[0].as_u64().unwrap()).await, row[1].as_f64().unwrap());
            assert!((part - expected).abs() < 0.01, "{part}: {row} of {rule}");
        }
    }
    let defaults = &data["defaults"];
    let same = ThrottleLayer::envoy().k(1.0 / defaults["threshold"].as_f64().unwrap()).unwrap();
    let same = same.aggression(defaults["aggression"].as_f64().unwrap()).unwrap();
    let same = same.at_most(defaults["most"].as_f64().unwrap()).unwrap();
    let rule = |layer: &ThrottleLayer| format!("{layer:?}").split(" }").next().unwrap().to_owned();
    assert_eq!(rule(&same), rule(&ThrottleLayer::envoy()));
    // It is forgotten after half a minute, and what was turned away is not counted.
    let layer = ThrottleLayer::envoy().http();
    assert!((hundred(layer.clone(), 0).await - 0.8).abs() < 1e-9);
    let service = layer.layer(Scripted::new((0..100).map(|_| status(500, &[]))));
    futures_util::future::join_all((0..100).map(|_| service.clone().oneshot(get("/")))).await;
    assert!((layer.rejection() - 0.8).abs() < 1e-9);
    advance(Duration::from_secs(defaults["window_s"].as_u64().unwrap())).await;
    assert_eq!(layer.rejection(), 0.0);
    assert!(ThrottleLayer::new().aggression(0.5).is_err() && ThrottleLayer::new().at_most(1.1).is_err());
    // Nothing is turned away while requests are few: 100 in half a minute are three and a third a second.
    for (rate, rejection) in [(3.0, 0.8), (4.0, 0.0)] {
        let few = ThrottleLayer::envoy().min_rate(rate).unwrap().http();
        assert!((hundred(few, 0).await - rejection).abs() < 1e-9, "{rate}");
    }
    assert_eq!(hundred(ThrottleLayer::off().http(), 0).await, 0.0);
    assert!(ThrottleLayer::new().min_rate(-1.0).is_err() && ThrottleLayer::new().min_rate(f64::NAN).is_err());
}

#[tokio::test(start_paused = true)]
async fn what_went_well_is_what_went_well_by_envoy() {
    let data: Value = serde_json::from_str(include_str!("data/envoy_admission_control.json")).unwrap();
    let fails = &data["success"];
    let failed = async |answer: Answer| {
        let layer = ThrottleLayer::envoy().http();
        let answer = layer.layer(Scripted::new([answer])).oneshot(get("/")).await.unwrap();
        collect(answer.into_body()).await;
        layer.rejection() > 0.0
    };
    for code in 0..=16 {
        let expected = fails["grpc_fails"].as_array().unwrap().contains(&code.into());
        assert_eq!(failed(grpc(code, &[])).await, expected, "{code}");
        assert_eq!(failed(grpc_trailers(&["a"], code, &[])).await, expected, "{code} in trailers");
    }
    for code in 200..600 {
        let expected = u64::from(code) >= fails["http_fails_from"].as_u64().unwrap();
        assert_eq!(failed(status(code, &[])).await, expected, "{code}");
    }
}

/// The first message says that the request was accepted; what comes to nothing later is a failure all the same.
#[tokio::test(start_paused = true)]
async fn a_stream_is_accepted_with_its_first_message_and_fails_with_its_trailers() {
    let by_overload = ThrottleLayer::new().k(1.0).unwrap();
    for (layer, expected) in
        [(by_overload, [0.0, 0.0, 1.0 / 3.0]), (ThrottleLayer::envoy(), [0.0, 0.5, 0.667])]
    {
        let layer = layer.http();
        let service = layer.layer(Scripted::new([grpc_trailers(&["a"], 8, &[]), grpc_trailers(&[], 8, &[])]));
        let mut body = service.clone().oneshot(get("/")).await.unwrap().into_body();
        let turned_away = service.oneshot(get("/")).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        let after_message = layer.rejection();
        collect(body).await;
        let after_end = layer.rejection();
        collect(turned_away).await;
        for (part, expected) in [after_message, after_end, layer.rejection()].into_iter().zip(expected) {
            assert!((part - expected).abs() < 1e-3, "{part} and not {expected}: {layer:?}");
        }
    }
    // What has nothing to tell at its end counts at once, however long it is read.
    let layer = ThrottleLayer::envoy().http();
    let unread =
        http::Response::builder().status(500).body(Frames { open: true, ..Frames::default() }).unwrap();
    let _unread = layer.layer(Scripted::new([Answer::Respond(unread)])).oneshot(get("/")).await.unwrap();
    assert!(layer.rejection() > 0.0);
    // Whoever has read enough gives a stream up that was well.
    let layer = ThrottleLayer::envoy().http();
    drop(layer.layer(Scripted::new([grpc_trailers(&["a"], 0, &[])])).oneshot(get("/")).await.unwrap());
    assert_eq!(layer.rejection(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn what_was_turned_away_is_not_sent_again_by_a_retry_layer() {
    let limited = LimitLayer::new(0).layer(Scripted::default());
    let error = RetryLayer::new().layer(limited).oneshot(get("/")).await.unwrap_err();
    assert_eq!(overloaded(&error), "as many requests are under way as are allowed, 0");
}

/// A service that is ready or not, as it is told.
#[derive(Clone, Default)]
struct Door {
    shut: Arc<AtomicBool>,
    wakers: Arc<Mutex<Vec<Waker>>>,
}

impl Door {
    fn set(&self, shut: bool) {
        self.shut.store(shut, Relaxed);
        self.wakers.lock().unwrap().drain(..).for_each(Waker::wake);
    }
}

impl Service<Request<Frames>> for Door {
    type Response = ();
    type Error = BoxError;
    type Future = std::future::Ready<Result<(), BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.shut.load(Relaxed) {
            self.wakers.lock().unwrap().push(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Frames>) -> Self::Future {
        std::future::ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_fails_nobody_and_a_long_one_fails_all_at_once() {
    let door = Door::default();
    let layer = FailfastLayer::new(Duration::from_secs(3)).queue(2);
    let service = layer.layer(door.clone());
    service.clone().oneshot(get("/")).await.unwrap();
    // Short.
    door.set(true);
    let mut short = start(&service, get("/"));
    assert_pending!(short.poll());
    advance(Duration::from_millis(2999)).await;
    assert_pending!(short.poll());
    door.set(false);
    assert!(short.is_woken());
    assert_ready_ok!(short.poll());
    drop(short);
    assert_eq!(layer.waiting(), 0);
    // Long: whoever waits fails three seconds after it began, whoever comes later at once.
    door.set(true);
    let mut first = start(&service, get("/"));
    assert_pending!(first.poll());
    advance(Duration::from_secs(2)).await;
    let mut second = start(&service, get("/"));
    assert_pending!(second.poll());
    let error = assert_ready_err!(start(&service, get("/")).poll());
    assert_eq!(overloaded(&error), "as many requests are waiting as are allowed, 2");
    advance(Duration::from_secs(1)).await;
    for waiting in [&mut first, &mut second] {
        assert!(waiting.is_woken());
        assert_eq!(overloaded(&assert_ready_err!(waiting.poll())), "the service has not been ready for 3s");
    }
    drop((first, second));
    assert!(layer.is_failing());
    overloaded(&assert_ready_err!(start(&service, get("/")).poll()));
    // Back at the first sign of life.
    door.set(false);
    assert_ready_ok!(start(&service, get("/")).poll());
    assert!(!layer.is_failing());
    assert_eq!(layer.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_long_enough_fails_though_the_service_was_ready_for_others_meanwhile() {
    let door = Door::default();
    let layer = FailfastLayer::new(Duration::from_secs(3));
    let service = layer.layer(door.clone());
    door.set(true);
    let mut first = start(&service, get("/"));
    assert_pending!(first.poll());
    assert_eq!(layer.waiting(), 1);
    advance(Duration::from_secs(2)).await;
    // It opens for somebody else, and shuts before the first has come to look.
    door.set(false);
    assert_ready_ok!(start(&service, get("/")).poll());
    door.set(true);
    let mut second = start(&service, get("/"));
    assert_pending!(second.poll());
    assert_pending!(first.poll());
    assert_eq!(layer.waiting(), 2);
    advance(Duration::from_secs(1)).await;
    assert!(first.is_woken());
    overloaded(&assert_ready_err!(first.poll()));
    assert_pending!(second.poll());
    assert!(!layer.is_failing(), "it has been shut for a second");
    advance(Duration::from_secs(2)).await;
    overloaded(&assert_ready_err!(second.poll()));
    drop((first, second));
    assert_eq!(layer.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_nobody_has_looked_at_for_long_is_over_as_far_as_we_know() {
    let door = Door::default();
    let layer = FailfastLayer::new(Duration::from_secs(3));
    let service = layer.layer(door.clone());
    door.set(true);
    // Its caller had no more time; nobody comes to see that the service is back a moment later.
    let mut given_up = start(&service, get("/"));
    assert_pending!(given_up.poll());
    drop(given_up);
    advance(Duration::from_secs(3_600)).await;
    assert!(!layer.is_failing());
    let mut later = start(&service, get("/"));
    assert_pending!(later.poll());
    advance(Duration::from_millis(10)).await;
    door.set(false);
    assert_ready_ok!(later.poll());
    // One that lasts fails whoever comes in time, however long it has lasted.
    door.set(true);
    for _ in 0..100 {
        let mut request = start(&service, get("/"));
        let at_once = layer.is_failing();
        match request.poll() {
            std::task::Poll::Ready(answer) => assert!(answer.is_err() && at_once),
            std::task::Poll::Pending => assert!(!at_once),
        }
        advance(Duration::from_secs(1)).await;
    }
    assert!(layer.is_failing());
}

#[test]
fn what_handles_requests_is_shared_between_threads() {
    fn check<T: Clone + Send + Sync + 'static>(_: &T) {}
    fn sends<T: Send>(_: T) {}
    let (limit, throttle) = (LimitLayer::new(1).http(), ThrottleLayer::new().http());
    let failfast = FailfastLayer::new(MS);
    check(&limit.layer(Scripted::default()));
    check(&throttle.layer(Scripted::default()));
    check(&failfast.layer(Scripted::default()));
    sends(limit.layer(Scripted::default()).oneshot(get("/")));
    sends(throttle.layer(Scripted::default()).oneshot(get("/")));
    sends(failfast.layer(Scripted::default()).oneshot(get("/")));
}
