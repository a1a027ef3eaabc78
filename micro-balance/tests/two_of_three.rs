//! Some of three endpoints answer 503 at once: what callers see of it, and what it costs. Time is paused throughout.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use micro_balance::{
    Balance, Ejection, Http,
    policy::{LeastRequest, PeakEwma, Policy},
    retry::{Backoff, RetryLayer},
};
use support::{host::Host, settle};
use tokio::time::sleep;
use tower::{Layer, ServiceExt, discover::ServiceList, util::MapRequest};

/// How many of 600 GETs, 200 a second, get a 503 while so many of three endpoints answer with it, and how often endpoints are
/// asked.
async fn outage(policy: impl Policy, ejection: Ejection, failing: usize) -> (usize, u64) {
    let hosts: Vec<_> = (0..3).map(|_| Host::new()).collect();
    let balance = Balance::builder(ServiceList::new::<Request<()>>(hosts.clone()))
        .policy(policy)
        .protocol(Http)
        .ejection(ejection)
        .seed(5)
        .build();
    settle().await;
    let service = MapRequest::new(balance.clone(), |request: Request<_>| request.map(|_| ()));
    let client = RetryLayer::new().backoff(Backoff::constant(Duration::ZERO)).layer(service);
    let get = async || {
        sleep(Duration::from_millis(5)).await;
        let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
        client.clone().oneshot(request).await.unwrap().status() != 503
    };
    let asked = || balance.endpoints().iter().map(|view| view.picks).sum::<u64>();
    for _ in 0..100 {
        assert!(get().await);
    }
    let (before, mut failed) = (asked(), 0);
    hosts[..failing].iter().for_each(|host| host.set(503));
    for _ in 0..600 {
        failed += usize::from(!get().await);
    }
    (failed, asked() - before)
}

#[tokio::test(start_paused = true)]
async fn two_of_three_that_fail_are_avoided_by_the_policy_there_is_unless_another_is_wanted() {
    let (failed, asked) = outage(PeakEwma::new(), Ejection::default(), 2).await;
    assert!(failed == 0 && asked < 660, "{failed} of 600, {asked}");
}

#[tokio::test(start_paused = true)]
async fn two_of_three_that_fail_may_both_be_ejected_where_the_policy_does_not_mind() {
    // One of three is out, and a retry for ten requests: others fail.
    let (failed, _) = outage(LeastRequest, Ejection::default(), 2).await;
    assert!(failed > 100, "{failed} of 600");
    let most = Ejection::default().max_percent(70).panic_percent(30);
    let (failed, asked) = outage(LeastRequest, most, 2).await;
    assert!(failed < 6 && asked < 660, "{failed} of 600, {asked}");
}

#[tokio::test(start_paused = true)]
async fn all_of_three_that_fail_are_asked_a_fifth_more_often_than_is_sent() {
    let most = Ejection::default().max_percent(70).panic_percent(30);
    for (failed, asked) in [
        outage(PeakEwma::new(), Ejection::default(), 3).await,
        outage(LeastRequest, Ejection::default(), 3).await,
        outage(LeastRequest, most, 3).await,
    ] {
        assert!(failed == 600 && asked <= 720, "{failed} of 600, {asked}");
    }
}
