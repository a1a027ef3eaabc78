//! Shares by what servers report of their load.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use micro_balance::{Balance, Http, eligible::SlowStart, policy::OrcaWeighted};
use serde_json::Value;
use tokio::time::sleep;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::{
    Service, ServiceExt,
    discover::{Change, ServiceList},
    service_fn,
};

/// A report: requests a second, failures among them, and the application's utilization.
fn report(qps: f64, failures: f64, utilization: f64) -> String {
    let mut bytes = Vec::new();
    for (field, number) in [(6, qps), (7, failures), (9, utilization)] {
        bytes.push(field << 3 | 1);
        bytes.extend(number.to_le_bytes());
    }
    BASE64_STANDARD.encode(bytes)
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// Answers with the report of the moment in the trailers, if it is not empty.
fn server(
    report: impl Fn() -> String + Clone + Send + Sync + 'static,
) -> impl Service<Request<()>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + Sync
{
    service_fn(move |_: Request<()>| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let report = report();
        if !report.is_empty() {
            trailers.insert("endpoint-load-metrics-bin", report.parse().unwrap());
        }
        let body = Full::new(Bytes::new()).with_trailers(async move { Some(Ok(trailers)) });
        let mut response = Response::new(body.boxed_unsync());
        response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        async move { Ok(response) }
    })
}

/// How many of `count` requests each endpoint gets.
async fn shares<S>(balance: &Balance<S, Request<()>, OrcaWeighted, Http>, count: usize) -> Vec<u64>
where
    S: Service<Request<()>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let picks = || -> Vec<u64> { balance.endpoints().into_iter().map(|view| view.picks).collect() };
    let before = picks();
    for _ in 0..count {
        let response = balance.clone().oneshot(Request::new(())).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    picks().into_iter().zip(before).map(|(now, before)| now - before).collect()
}

#[tokio::test(start_paused = true)]
async fn reports_in_trailers_count_from_the_end_of_the_blackout_until_they_expire() {
    let servers = [1.0, 0.1].map(|utilization| server(move || report(10.0, 0.0, utilization)));
    let servers = ServiceList::new::<Request<()>>(servers);
    let balance = Balance::builder(servers).policy(OrcaWeighted::new()).protocol(Http).build();
    sleep(Duration::from_millis(5)).await;
    assert_eq!(shares(&balance, 100).await, [50, 50]);
    sleep(Duration::from_millis(9_500)).await;
    assert_eq!(shares(&balance, 100).await, [50, 50], "in the blackout");
    sleep(Duration::from_secs(2)).await;
    let weighed = shares(&balance, 110).await;
    assert!(weighed[0].abs_diff(10) <= 2 && weighed[1].abs_diff(100) <= 2, "{weighed:?}");
    sleep(Duration::from_secs(182)).await;
    assert_eq!(shares(&balance, 100).await, [50, 50], "expired");
}

#[tokio::test(start_paused = true)]
async fn a_weight_counts_for_as_long_without_a_report_as_is_wanted() {
    for (seconds, counts) in [(20, false), (60, true)] {
        let servers = [1.0, 0.1].map(|utilization| server(move || report(10.0, 0.0, utilization)));
        let policy = OrcaWeighted::new().blackout(Duration::ZERO).expiration(Duration::from_secs(seconds));
        let servers = ServiceList::new::<Request<()>>(servers);
        let balance = Balance::builder(servers).policy(policy).protocol(Http).build();
        sleep(Duration::from_millis(5)).await;
        shares(&balance, 10).await;
        sleep(Duration::from_secs(30)).await;
        assert_eq!(shares(&balance, 110).await[0] < 20, counts, "{seconds} s");
    }
}

/// The cases of gRPC that have numbers, to within two of a hundred.
#[tokio::test(start_paused = true)]
async fn shares_are_those_of_grpcs_cases() {
    let table = include_str!("data/grpc_wrr_static_stride.json");
    let table: Value = serde_json::from_str(table).unwrap();
    for case in table["balancer_cases"].as_array().unwrap().iter().filter(|case| case["qps"].is_array()) {
        let number = |list: &str, index: usize| case[list][index].as_f64().unwrap_or_default();
        let servers = [0, 1].map(|n| {
            let (qps, eps, utilization) = (number("qps", n), number("eps", n), number("util", n));
            server(move || report(qps, eps, utilization))
        });
        let policy = OrcaWeighted::new().penalty(case["penalty"].as_f64().unwrap_or(1.0)).unwrap();
        let servers = ServiceList::new::<Request<()>>(servers);
        let balance =
            Balance::builder(servers).policy(policy.blackout(Duration::ZERO)).protocol(Http).build();
        sleep(Duration::from_millis(5)).await;
        shares(&balance, 10).await;
        sleep(Duration::from_secs(2)).await;
        let shares = shares(&balance, 100).await;
        let [a, b] = [0, 1].map(|n| number("ratio", n));
        let expected = 100.0 * a / (a + b);
        assert!((shares[0] as f64 - expected).abs() <= 2.0, "{shares:?}: {case}");
    }
}

/// gRPC's `weighted_round_robin_test.cc`: Basic, WeightExpirationPeriod and BlackoutPeriodAfterWeightExpiration, of a hundred
/// requests a second each.
#[tokio::test(start_paused = true)]
async fn who_reports_nothing_counts_as_the_mean_and_after_reports_have_expired_they_are_looked_at_for_a_while()
 {
    let used = Arc::new(Mutex::new([0.9, 0.3, 0.0]));
    let servers = [0, 1, 2].map(|n| {
        let used = used.clone();
        server(move || match used.lock().unwrap()[n] {
            0.0 => String::new(),
            utilization => report(100.0, 0.0, utilization),
        })
    });
    let policy = OrcaWeighted::new().blackout(Duration::from_secs(1)).expiration(Duration::from_secs(2));
    let servers = ServiceList::new::<Request<()>>(servers);
    let balance = Balance::builder(servers).policy(policy).protocol(Http).build();
    sleep(Duration::from_millis(5)).await;
    // Three seconds in which all report.
    let report_on = async || {
        for _ in 0..6 {
            shares(&balance, 6).await;
            sleep(Duration::from_millis(500)).await;
        }
    };
    let are = async |expected: [u64; 3]| {
        let shares = shares(&balance, expected.iter().sum::<u64>() as usize).await;
        assert!(
            shares.iter().zip(expected).all(|(share, expected)| share.abs_diff(expected) <= 2),
            "{shares:?}"
        );
    };
    report_on().await;
    are([10, 30, 20]).await;
    *used.lock().unwrap() = [0.9, 0.3, 0.3];
    report_on().await;
    are([10, 30, 30]).await;
    sleep(Duration::from_millis(3_500)).await;
    *used.lock().unwrap() = [0.3, 0.3, 0.9];
    are([30, 30, 30]).await;
    sleep(Duration::from_millis(500)).await;
    are([30, 30, 30]).await;
    report_on().await;
    are([30, 30, 10]).await;
}

/// Its Eps and ZeroErrorUtilPenalty.
#[tokio::test(start_paused = true)]
async fn failures_count_as_much_as_the_penalty_says() {
    for (penalty, expected) in [(1.0, [10, 20, 30]), (0.0, [20, 20, 20])] {
        let servers = [50.0, 20.0, 10.0].map(|failures| server(move || report(100.0, failures, 0.1)));
        let policy = OrcaWeighted::new().blackout(Duration::ZERO).penalty(penalty).unwrap();
        let servers = ServiceList::new::<Request<()>>(servers);
        let balance = Balance::builder(servers).policy(policy).protocol(Http).build();
        sleep(Duration::from_millis(5)).await;
        shares(&balance, 6).await;
        sleep(Duration::from_secs(2)).await;
        let shares = shares(&balance, 60).await;
        assert!(
            shares.iter().zip(expected).all(|(share, expected)| share.abs_diff(expected) <= 2),
            "{shares:?}"
        );
    }
}

/// As where an answer is nothing but a head.
#[tokio::test(start_paused = true)]
async fn reports_in_the_head_of_an_answer_count_as_well() {
    let servers = [1.0, 0.1].map(|utilization| {
        service_fn(move |_: Request<()>| async move {
            let response =
                Response::builder().header("endpoint-load-metrics-bin", report(10.0, 0.0, utilization));
            Ok::<_, Infallible>(response.body(Full::new(Bytes::new()).boxed_unsync()).unwrap())
        })
    });
    let policy = OrcaWeighted::new().blackout(Duration::ZERO);
    let servers = ServiceList::new::<Request<()>>(servers);
    let balance = Balance::builder(servers).policy(policy).protocol(Http).build();
    sleep(Duration::from_millis(5)).await;
    shares(&balance, 10).await;
    sleep(Duration::from_secs(2)).await;
    let shares = shares(&balance, 110).await;
    assert!(shares[0].abs_diff(10) <= 2 && shares[1].abs_diff(100) <= 2, "{shares:?}");
}

/// A fifth of a weight is a twelfth of all among three, whether it has reported for long enough or not.
#[tokio::test(start_paused = true)]
async fn one_that_is_new_starts_slowly_before_its_reports_count_and_after() {
    for reports in [true, false] {
        let (hand, changes) = tokio::sync::mpsc::unbounded_channel();
        let insert = |name: &'static str| {
            let server = server(move || if reports { report(10.0, 0.0, 0.5) } else { String::new() });
            hand.send(Ok::<_, Infallible>(Change::Insert(name, server))).ok().unwrap();
        };
        let balance = Balance::builder(UnboundedReceiverStream::new(changes))
            .policy(OrcaWeighted::new())
            .protocol(Http)
            .slow_start(SlowStart::new(Duration::from_secs(60)))
            .build();
        ["a", "b"].into_iter().for_each(insert);
        sleep(Duration::from_secs(1)).await;
        for _ in 0..100 {
            shares(&balance, 4).await;
            sleep(Duration::from_secs(1)).await;
        }
        insert("c");
        for (after, part) in [(8.0, 0.1333), (8.0, 0.2666), (14.0, 0.5), (32.0, 1.0)] {
            sleep(Duration::from_secs_f64(after)).await;
            let picked = shares(&balance, 1_000).await[2] as f64 / 1_000.0;
            let expected = part / (2.0 + part);
            assert!((picked - expected).abs() < 0.02, "{picked} and not {expected}, reports: {reports}");
        }
    }
}
