//! What others fell into, where no test of a part of ours would notice that we did.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod scripted;

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use micro_balance::{
    Balance, Endpoint, Http,
    policy::{Context, PeakEwma, Policy, RoundRobin},
    retry::{Backoff, Budget, RetryLayer},
};
use scripted::{Frames, call, get};
use tokio::time::{Instant, Sleep, sleep};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, discover::ServiceList, service_fn};

/// Latency ends with the head of an answer: measured to its end, who streams would look slow.
#[tokio::test(start_paused = true)]
async fn an_answer_that_goes_on_for_long_makes_no_endpoint_look_slow() {
    let server = |lasts: Duration| {
        service_fn(move |_: Request<()>| async move {
            sleep(Duration::from_millis(2)).await;
            let frames = futures_util::stream::once(async move {
                sleep(lasts).await;
                Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")))
            });
            Ok::<_, Infallible>(Response::new(StreamBody::new(Box::pin(frames))))
        })
    };
    let servers = [Duration::from_secs(60), Duration::ZERO].map(server);
    let servers = ServiceList::new::<Request<()>>(servers);
    let balance = Balance::builder(servers).policy(PeakEwma::new()).protocol(Http).seed(1).build();
    sleep(Duration::from_millis(5)).await;
    for _ in 0..20 {
        let response = balance.clone().oneshot(Request::new(())).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    for view in balance.endpoints() {
        assert!(view.latency.unwrap() <= Duration::from_millis(3), "{view:?}");
    }
}

/// Weights every second, and writes down when.
#[derive(Clone, Default)]
struct Weighing(Arc<Mutex<Vec<Instant>>>);

impl Policy for Weighing {
    type Table = ();

    fn table(&self, _: &[Endpoint]) {
        self.0.lock().unwrap().push(Instant::now());
    }

    fn pick(&self, (): &(), _: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        Some(0)
    }

    fn refresh(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }
}

/// All would go to whoever was idle a moment ago, and back.
#[tokio::test(start_paused = true)]
async fn clients_that_start_together_do_not_look_at_loads_in_step() {
    let clients: Vec<_> = (0..8)
        .map(|seed| {
            let weighing = Weighing::default();
            let servers = (0..3).map(|_| service_fn(|(): ()| async { Ok::<_, Infallible>(()) }));
            let servers = ServiceList::new::<()>(servers.collect::<Vec<_>>());
            (weighing.clone(), Balance::builder(servers).policy(weighing).seed(seed).build())
        })
        .collect();
    sleep(Duration::from_secs(60)).await;
    let times: Vec<_> = clients.iter().map(|(weighing, _)| weighing.0.lock().unwrap().clone()).collect();
    assert!(times.iter().all(|times| (55..=70).contains(&times.len())), "once a second");
    let mut last: Vec<_> = times.iter().map(|times| *times.last().unwrap()).collect();
    last.sort_unstable();
    let apart = last.windows(2).filter(|pair| pair[1] - pair[0] > Duration::from_millis(20)).count();
    assert!(apart >= 4, "{last:?}");
}

/// The cursor wraps once in 2^64 requests; nothing but one turn is lost.
#[tokio::test(start_paused = true)]
async fn turns_go_on_where_their_counter_begins_again() {
    let servers = ServiceList::new::<()>(vec![service_fn(|(): ()| async { Ok::<_, Infallible>(()) }); 3]);
    let policy = RoundRobin::starting_at(usize::MAX - 300);
    let balance = Balance::builder(servers).policy(policy).build();
    sleep(Duration::from_millis(5)).await;
    for _ in 0..600 {
        balance.clone().oneshot(()).await.unwrap();
    }
    let picks: Vec<_> = balance.endpoints().iter().map(|view| view.picks).collect();
    assert!(picks.iter().all(|picks| picks.abs_diff(200) <= 1), "{picks:?}");
}

/// Is ready after a while, and counts those that are on the way there and the most there ever were.
struct Dials {
    takes: Duration,
    counts: Arc<(AtomicUsize, AtomicUsize)>,
    dialing: Option<Pin<Box<Sleep>>>,
}

impl Dials {
    fn new(takes: Duration) -> Self {
        Self { takes, counts: Arc::default(), dialing: None }
    }
}

impl Clone for Dials {
    fn clone(&self) -> Self {
        Self { takes: self.takes, counts: self.counts.clone(), dialing: None }
    }
}

impl Service<()> for Dials {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        let (now, most) = &*self.counts;
        let dialing = self.dialing.get_or_insert_with(|| {
            most.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
            Box::pin(sleep(self.takes))
        });
        ready!(dialing.as_mut().poll(cx));
        now.fetch_sub(1, Relaxed);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

/// Who is still being connected takes nothing, so all are connected soon; but a thousand at the same moment are a storm.
#[tokio::test(start_paused = true)]
async fn no_more_endpoints_are_connected_at_once_than_is_allowed() {
    for (limit, most, early, late) in [(8, 8, 1_200, 1_450), (1_000, 1_000, 5, 15)] {
        let dials = Dials::new(Duration::from_millis(10));
        let endpoints = ServiceList::new::<()>(vec![dials.clone(); 1_000]);
        let balance = Balance::<_, ()>::builder(endpoints).connecting(limit).build();
        sleep(Duration::from_millis(early)).await;
        assert!(balance.ready_endpoints() < 1_000);
        sleep(Duration::from_millis(late - early)).await;
        assert_eq!((balance.ready_endpoints(), dials.counts.1.load(Relaxed)), (1_000, most));
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_takes_for_ever_to_connect_keeps_nobody_away() {
    let hangs = vec![Dials::new(Duration::from_secs(86_400)); 3];
    let endpoints = ServiceList::new::<()>(hangs.into_iter().chain([Dials::new(Duration::ZERO)]));
    let balance = Balance::<_, ()>::builder(endpoints).connecting(1).build();
    sleep(Duration::from_millis(2_900)).await;
    assert_eq!(balance.ready_endpoints(), 0);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(balance.ready_endpoints(), 1);
}

/// Requests that reach the last of three tiers, each of which sends again what fails, as everything does.
async fn three_tiers(
    layer: impl Fn() -> RetryLayer,
    requests: usize,
    request: fn() -> Request<Frames>,
) -> usize {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let failing = service_fn(move |request: Request<_>| {
        counter.fetch_add(1, Relaxed);
        let mut response = Response::new(Frames::default());
        match request.headers().get("content-type") {
            Some(grpc) => {
                response.headers_mut().insert("content-type", grpc.clone());
                response.headers_mut().insert("grpc-status", "14".parse().unwrap());
            }
            None => *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE,
        }
        async move { Ok::<_, BoxError>(response) }
    });
    let client = ServiceBuilder::new().layer(layer()).layer(layer()).layer(layer()).service(failing);
    for _ in 0..requests {
        tokio::spawn(client.clone().oneshot(request()));
        sleep(Duration::from_millis(10)).await;
    }
    sleep(Duration::from_secs(1)).await;
    sent.load(Relaxed)
}

#[tokio::test(start_paused = true)]
async fn tiers_that_all_send_again_do_not_multiply() {
    // Three times three times three would be 27 000: each budget adds a tenth, and 5 a second.
    let sent = three_tiers(RetryLayer::new, 1_000, || get("/")).await;
    assert!((1_331..1_600).contains(&sent), "{sent} of 1000");
    // Without any budget a call over gRPC says how often it was sent, and each tier has so many attempts fewer.
    let endless = || RetryLayer::new().budget(Budget::endless()).backoff(Backoff::constant(Duration::ZERO));
    assert_eq!(three_tiers(endless, 10, || call(&["x"])).await, 10 * 10, "27 each");
}
