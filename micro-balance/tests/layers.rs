//! The layers around a balancer: attempts go to endpoints of their own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use std::{convert::Infallible, time::Duration};

use futures_util::stream;
use http::Request;
use micro_balance::{
    Balance, Ejection, Http, NotSent,
    hedge::HedgeLayer,
    limit::LimitLayer,
    policy::{Policy, RoundRobin},
    retry::{Backoff, Budget, ReplayBody, RetryLayer},
    timeout::TimeoutLayer,
};
use scripted::*;
use tokio::time::Instant;
use tower::{
    ServiceBuilder, ServiceExt,
    discover::{Change, ServiceList},
};
use tower_layer::Layer;

const MS: Duration = Duration::from_millis(1);

type Attempt = Request<ReplayBody<Frames>>;

fn retry() -> RetryLayer {
    RetryLayer::new().seed(7).budget(Budget::endless()).backoff(Backoff::constant(Duration::ZERO))
}

fn balance(endpoints: &[Scripted], policy: impl Policy) -> impl Balanced<Attempt> {
    let list = ServiceList::new::<Attempt>(endpoints.to_vec());
    Balance::builder(list).protocol(Http).policy(policy).ejection(Ejection::off()).seed(7).build()
}

/// What a test needs of a balancer.
trait Balanced<Req>:
    tower_service::Service<
        Req,
        Response = http::Response<micro_balance::CountedBody<Frames>>,
        Error = tower::BoxError,
        Future: Send,
    > + Clone
    + Send
    + Sync
{
}

impl<S, Req> Balanced<Req> for S where
    S: tower_service::Service<
            Req,
            Response = http::Response<micro_balance::CountedBody<Frames>>,
            Error = tower::BoxError,
            Future: Send,
        > + Clone
        + Send
        + Sync
{
}

#[tokio::test(start_paused = true)]
async fn three_attempts_go_to_three_endpoints() {
    for _ in 0..50 {
        let endpoints = [(); 3].map(|()| Scripted::new([grpc(14, &[])]));
        let client = retry().layer(balance(&endpoints, RoundRobin::new()));
        let answer = client.oneshot(call(&["x"])).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "14");
        assert!(endpoints.iter().all(|endpoint| endpoint.attempts().len() == 1));
        assert!(endpoints.iter().all(|endpoint| endpoint.attempts()[0].text() == "x"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_endpoint_is_tried_again() {
    let endpoint = Scripted::new([grpc(14, &[]), grpc(14, &[]), grpc(0, &[])]);
    let client = retry().layer(balance(std::slice::from_ref(&endpoint), RoundRobin::new()));
    let answer = client.oneshot(call(&["x"])).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "0");
    assert_eq!(endpoint.attempts().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn attempts_that_go_where_one_was_before_are_counted_and_others_are_not() {
    for (count, again) in [(1, 2), (2, 1), (3, 0)] {
        let endpoints: Vec<_> =
            (0..count).map(|_| Scripted::new([grpc(14, &[]), grpc(14, &[]), grpc(14, &[])])).collect();
        let list = ServiceList::new::<Request<ReplayBody<Frames>>>(endpoints);
        let balance = Balance::builder(list).protocol(Http).policy(RoundRobin::new()).build();
        retry().layer(balance.clone()).oneshot(call(&["x"])).await.unwrap();
        assert_eq!(balance.fallbacks().tried, again, "among {count}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hedge_goes_to_the_other_endpoint() {
    for _ in 0..20 {
        let endpoints = [(); 2].map(|()| Scripted::new([Answer::Wait(500 * MS)]));
        let layer = HedgeLayer::after(20 * MS).budget(Budget::endless());
        let began = Instant::now();
        layer.layer(balance(&endpoints, RoundRobin::new())).oneshot(get("/")).await.unwrap();
        assert_eq!(began.elapsed(), 500 * MS);
        assert!(endpoints.iter().all(|endpoint| endpoint.attempts().len() == 1 && endpoint.open() == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_takes_no_more_hands_its_requests_to_another() {
    let endpoints = [(); 2].map(|()| Scripted::new((0..3).map(|_| Answer::Wait(100 * MS))));
    // One layer for each endpoint, so each has a limit of its own.
    let limits = [LimitLayer::new(1).http(), LimitLayer::new(3).http()];
    let limited: Vec<_> =
        endpoints.iter().zip(&limits).map(|(endpoint, limit)| limit.layer(endpoint.clone())).collect();
    let list = ServiceList::new::<Request<Frames>>(limited);
    let balance = Balance::builder(list).protocol(Http).policy(RoundRobin::new()).build();
    let answers = futures_util::future::join_all((0..4).map(|_| balance.clone().oneshot(get("/")))).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(endpoints.each_ref().map(|endpoint| endpoint.attempts().len()), [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_an_endpoint_in_vain_does_not_wait_again() {
    let silent = stream::pending::<Result<Change<usize, Scripted>, Infallible>>();
    let balance: Balance<_, Attempt> = Balance::new(silent);
    let client = retry().backoff(Backoff::constant(1000 * MS)).layer(balance);
    let began = Instant::now();
    let error = client.oneshot(get("/")).await.unwrap_err();
    assert!(NotSent::is(error.as_ref()));
    assert_eq!(began.elapsed(), 3000 * MS, "the balancer's own limit, once");
}

#[tokio::test(start_paused = true)]
async fn a_whole_client_loses_nothing_to_a_black_hole() {
    let endpoints = [
        Scripted::new((0..100).map(|_| Answer::Hang)),
        Scripted::new((0..200).map(|_| status(200, &[]))),
        Scripted::new((0..200).map(|_| status(200, &[]))),
    ];
    let list = ServiceList::new::<Request<ReplayBody<ReplayBody<Frames>>>>(endpoints.to_vec());
    let balance = Balance::builder(list).protocol(Http).policy(RoundRobin::new()).build();
    let client = ServiceBuilder::new()
        .layer(TimeoutLayer::per_call(5000 * MS))
        .layer(HedgeLayer::after(2000 * MS))
        .layer(retry())
        .layer(TimeoutLayer::per_attempt(1000 * MS))
        .service(balance);
    for _ in 0..200 {
        assert_eq!(client.clone().oneshot(get("/")).await.unwrap().status(), 200);
    }
    assert!(endpoints[0].attempts().len() < 20, "it is ejected: {}", endpoints[0].attempts().len());
}
