//! Settings that nobody should choose: whatever they are, nothing panics, and where calls may go, they go.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[cfg(feature = "config")]
#[path = "support/policies.rs"]
mod policies;
mod support;

use std::{
    future::Future,
    sync::{
        Arc, Once,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use micro_balance::{
    Balance, Ejection, FailurePercentage, Http, Latency, Reconnect, SuccessRate,
    eligible::{Priority, SlowStart, Subset},
    failfast::FailfastLayer,
    health::HealthCheck,
    hedge::HedgeLayer,
    limit::{Aimd, Gradient, Gradient2, LimitLayer, Vegas},
    policy::{LeastRequest, OrcaWeighted, PeakEwma, PickFirst, Policy, Prequal, RoundRobin},
    retry::{Backoff, Budget, Jitter, RetryLayer},
    session::SessionLayer,
    throttle::ThrottleLayer,
    timeout::{IdleTimeoutLayer, TimeoutLayer},
};
use support::{Mood, fakes};
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, ServiceExt, discover::ServiceList};
use tower_layer::Layer;
use tower_service::Service;

type Text = Full<Bytes>;

const WAITS: [Duration; 3] = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
const PARTS: [f64; 7] = [f64::NAN, -1.0, 0.0, f64::MIN_POSITIVE, 0.5, 1e300, f64::INFINITY];
const COUNTS: [u32; 3] = [0, 1, u32::MAX];

/// Panics of any thread or task: those of a balancer's own would go unseen.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, SeqCst);
            usual(panic);
        }));
    });
}

/// Every second answer is an error of the server's.
#[derive(Clone, Debug)]
struct Answers;

impl<B> Service<Request<B>> for Answers {
    type Response = Response<Text>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Text>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let status = if request.uri().path() == "/bad" { 503 } else { 200 };
        Box::pin(async move {
            sleep(Duration::from_millis(1)).await;
            Ok(Response::builder().status(status).body(Text::default()).unwrap())
        })
    }
}

fn request(number: u32) -> Request<Text> {
    Request::get(if number.is_multiple_of(2) { "/good" } else { "/bad" }).body(Text::default()).unwrap()
}

/// A few calls, each of which ends within a year or is given up.
async fn calls<F, R, E>(mut call: impl FnMut(Request<Text>) -> F)
where
    F: Future<Output = Result<R, E>>,
{
    for number in 0..6 {
        let _ = timeout(Duration::from_secs(31_536_000), call(request(number))).await;
    }
}

async fn through<L, S>(layer: L)
where
    L: Layer<Answers, Service = S>,
    S: Service<Request<Text>> + Clone,
{
    let service = layer.layer(Answers);
    calls(|request| service.clone().oneshot(request)).await;
}

#[tokio::test(start_paused = true)]
async fn no_layer_panics_over_a_wait() {
    count_panics();
    for wait in WAITS {
        through(TimeoutLayer::per_call(wait)).await;
        through(TimeoutLayer::per_attempt(wait)).await;
        through(IdleTimeoutLayer::new(wait)).await;
        through(HedgeLayer::after(wait)).await;
        through(FailfastLayer::new(wait)).await;
        through(LimitLayer::new(1).queue(1, wait)).await;
        through(LimitLayer::adaptive(Aimd::default().timeout(wait)).window(wait)).await;
        through(LimitLayer::adaptive(Gradient::default().interval(wait).fastest(wait).probe(1, wait, 0.1)))
            .await;
        through(ThrottleLayer::new().http().window(wait)).await;
        through(SessionLayer::new("s").max_age(wait)).await;
        for other in WAITS {
            let backoffs = [
                Backoff::exponential(wait, 2.0, other),
                Backoff::decorrelated(wait, other),
                Ok(Backoff::linear(wait, other, Duration::MAX)),
                Ok(Backoff::constant(wait)),
            ];
            for backoff in backoffs.into_iter().flatten() {
                for jitter in [Jitter::None, Jitter::Full] {
                    through(RetryLayer::new().backoff(backoff.jitter(jitter)).look(wait)).await;
                }
            }
            if let Ok(budget) = Budget::new(0.5, 1, wait) {
                through(RetryLayer::new().budget(budget).whole_timeout(other)).await;
            }
        }
    }
    assert_eq!(PANICS.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn no_layer_panics_over_a_number() {
    count_panics();
    for (part, count) in PARTS.into_iter().flat_map(|part| COUNTS.map(|count| (part, count))) {
        let budgets = [
            Budget::new(part, count, Duration::from_secs(1)),
            Budget::throttle(count, part),
            Budget::concurrent(part, count),
        ];
        for budget in budgets.into_iter().flatten() {
            through(RetryLayer::new().attempts(count.min(4)).budget(budget)).await;
        }
        if let Ok(backoff) = Backoff::exponential(Duration::from_millis(1), part, Duration::from_secs(1)) {
            through(RetryLayer::new().attempts(count.min(4)).backoff(backoff)).await;
        }
        if let Ok(hedge) = HedgeLayer::percentile(part) {
            through(hedge.attempts(count.min(4))).await;
        }
        if let Ok(throttle) = ThrottleLayer::new().k(part) {
            through(throttle.http()).await;
        }
        through(LimitLayer::new(count).queue(count, Duration::from_millis(1))).await;
        through(LimitLayer::adaptive(Aimd::default().initial(count).range(count, 1).backoff_ratio(part)))
            .await;
        let vegas = Vegas::default().initial(count).max(count).alpha(count).beta(count).smoothing(part);
        through(LimitLayer::adaptive(vegas)).await;
        let gradient = Gradient2::default().initial(count).range(count, 1).smoothing(part).queue(count);
        through(LimitLayer::adaptive(gradient.tolerance(part))).await;
        let gradient = Gradient::default().range(count, 1).buffer(part).percentile(part);
        through(LimitLayer::adaptive(gradient.probe(count, Duration::from_secs(1), part))).await;
    }
    assert_eq!(PANICS.load(SeqCst), 0);
}

async fn over(wait: Duration, count: u32, policy: impl Policy) {
    let list = ServiceList::new::<Request<Text>>(vec![Answers, Answers, Answers]);
    let ejection = Ejection::default()
        .interval(wait)
        .base(wait)
        .max(wait)
        .jitter(wait)
        .consecutive_failures(count)
        .gateway_failures(count)
        .local_failures(count)
        .success_rate(SuccessRate::default())
        .failure_percentage(FailurePercentage::default())
        .latency(Latency::default())
        .max_percent(count)
        .panic_percent(count);
    let balance = Balance::builder(list)
        .protocol(Http)
        .policy(policy)
        .ejection(ejection)
        .priority(Priority::failover().patience(wait).overprovisioning(count))
        .subset(Subset::random(count as usize))
        .slow_start(SlowStart::new(wait).min_percent(count))
        .reconnect(Reconnect::new(wait, wait))
        .connecting(count as usize)
        .drain(wait)
        .failfast(wait)
        .metrics(wait)
        .seed(7)
        .build();
    calls(|request| balance.clone().oneshot(request)).await;
}

#[tokio::test(start_paused = true)]
async fn no_balancer_panics() {
    count_panics();
    for (wait, count) in WAITS.into_iter().flat_map(|wait| COUNTS.map(|count| (wait, count))) {
        over(wait, count, RoundRobin::new()).await;
        over(wait, count, LeastRequest).await;
        over(wait, count, PeakEwma::new().decay(wait).default_latency(wait).penalty(wait)).await;
        over(wait, count, OrcaWeighted::new().blackout(wait).expiration(wait).update(wait)).await;
        over(wait, count, PickFirst::new().delay(wait)).await;
        over(wait, count, Prequal::new()).await;
    }
    assert_eq!(PANICS.load(SeqCst), 0);
}

/// Whatever a registry says of an endpoint.
#[cfg(feature = "config")]
mod said {
    use micro_balance::{
        Attributes,
        eligible::{Locality, locality::ZoneWeights},
    };

    use super::*;

    async fn over(policy: &str, weights: [u32; 3], locality: Locality) {
        let list = ServiceList::new::<Request<Text>>(vec![Answers, Answers, Answers]);
        let balance = Balance::builder(list)
            .protocol(Http)
            .configured(&policies::configured(policy))
            .priority(Priority::proportional())
            .locality(locality)
            .attributes(move |&key: &usize, _| Attributes {
                weight: weights[key],
                priority: if key == 2 { u32::MAX } else { 0 },
                zone: Some(if key == 0 { "a" } else { "b" }.into()),
                ..Attributes::default()
            })
            .build();
        for number in 0..20 {
            balance.clone().oneshot(request(number)).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_policy_panics() {
        count_panics();
        let zones = ZoneWeights::new([("a", u32::MAX), ("b", u32::MAX)]);
        for policy in policies::ALL {
            for weights in [[u32::MAX; 3], [u32::MAX, 1, 0], [0; 3]] {
                over(policy, weights, Locality::Any).await;
                over(policy, weights, Locality::Weighted(zones.clone())).await;
            }
        }
        assert_eq!(PANICS.load(SeqCst), 0);
    }
}

/// By the real clock: a task that never rests would keep a paused one from going on.
#[tokio::test]
async fn nobody_is_asked_without_rest_whatever_is_set() {
    let ([refused], _hand, changes) = fakes(["refused"], Mood::Refuses);
    let reconnect = Reconnect::new(Duration::ZERO, Duration::ZERO);
    let balance: Balance<_, ()> = Balance::builder(changes).reconnect(reconnect).build();
    sleep(Duration::from_millis(100)).await;
    assert!(refused.asked() <= 300, "asked {} times in a tenth of a second", refused.asked());
    drop(balance);

    // Nor whether one that is ejected is well again.
    let ([fails, _well], _hand, changes) = fakes(["fails", "well"], Mood::Answers(Duration::ZERO));
    let probes = Arc::new(AtomicUsize::new(0));
    let counted = probes.clone();
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(RoundRobin::new())
        .ejection(Ejection::default().consecutive_failures(1).base(Duration::ZERO).max(Duration::ZERO))
        .probe(move |_| {
            counted.fetch_add(1, SeqCst);
            std::future::ready(Err("still not".into()))
        })
        .build();
    sleep(Duration::from_millis(10)).await;
    fails.set(Mood::Fails(Duration::ZERO));
    while balance.clone().oneshot(()).await.is_ok() {}
    sleep(Duration::from_millis(100)).await;
    assert!((1..=300).contains(&probes.load(SeqCst)), "{probes:?} in a tenth of a second");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_no_number_is_the_least_there_is() {
    let limits = [
        LimitLayer::adaptive(Vegas::default().smoothing(f64::NAN)).window(Duration::ZERO),
        LimitLayer::adaptive(Gradient2::default().smoothing(f64::NAN)).window(Duration::ZERO),
        LimitLayer::adaptive(Gradient::default().percentile(f64::NAN)),
    ];
    for limit in limits {
        let (began, service) = (limit.limit(), limit.layer(Answers));
        calls(|request| service.clone().oneshot(request)).await;
        assert!(limit.limit() >= began, "{limit:?}");
    }
    // A health check rests all the same.
    let (asked, (_fakes, _hand, changes)) = (Arc::new(AtomicUsize::new(0)), fakes(["a"], Mood::Silent));
    let counted = asked.clone();
    let health = HealthCheck::default().interval(Duration::from_millis(100)).jitter(f64::NAN);
    let _balance: Balance<_, ()> = Balance::builder(changes)
        .health_check(health, move |_| {
            counted.fetch_add(1, SeqCst);
            std::future::ready(Ok(()))
        })
        .build();
    sleep(Duration::from_secs(1)).await;
    assert!((9..=11).contains(&asked.load(SeqCst)), "{asked:?} in a second");
    // And a server that says when to come back is not asked before.
    let busy = |_: Request<_>| {
        std::future::ready(Response::builder().status(503).header("retry-after", "2").body(Text::default()))
    };
    let retry = RetryLayer::new().attempts(2).retry_after_jitter(f64::NAN);
    let began = Instant::now();
    retry.layer(tower::service_fn(busy)).oneshot(request(0)).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(2));
}
