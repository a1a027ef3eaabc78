//! Requests that found nobody ready, and wait.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use http::Request;
use micro_balance::{
    Balance, Ejection, Http, Tried,
    policy::{Random, RoundRobin},
};
use support::{FAST, Fake, Mood, discovery, fakes, pages, settle, view};
use tokio::time::sleep;
use tower::ServiceExt;

#[tokio::test(start_paused = true)]
async fn a_request_that_waited_and_goes_where_it_has_been_counts_as_one_that_had_to() {
    let (hand, changes) = discovery();
    let a = Fake::new("a", FAST);
    hand.insert("a", &a);
    let balance = Balance::builder(pages(changes)).protocol(Http).policy(RoundRobin::new()).build();
    settle().await;
    let tried = Tried::default();
    for (tried, counted) in [(&tried, 0), (&tried, 1), (&Tried::default(), 1)] {
        a.set(Mood::Connecting);
        let mut request = Request::new(());
        request.extensions_mut().insert(tried.clone());
        let waiting = tokio::spawn(balance.clone().oneshot(request));
        settle().await;
        assert!(!waiting.is_finished());
        a.set(FAST);
        waiting.await.unwrap().unwrap();
        assert_eq!(balance.fallbacks().tried, counted);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_has_the_failfast_limit_from_its_own_beginning_however_long_all_has_been_well() {
    let ([a], _hand, changes) = fakes(["a"], FAST);
    let limit = Duration::from_secs(3);
    let balance: Balance<_, (), _> =
        Balance::builder(changes).policy(RoundRobin::new()).failfast(limit).build();
    for _ in 0..2 {
        sleep(Duration::from_secs(60)).await;
        a.set(Mood::Connecting);
        let waiting = tokio::spawn(balance.clone().oneshot(()));
        sleep(limit - Duration::from_millis(100)).await;
        assert!(!waiting.is_finished());
        a.set(FAST);
        assert_eq!(waiting.await.unwrap().unwrap(), "a");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_already_waits_for_who_is_announced_meanwhile() {
    let (_fakes, hand, changes) = fakes(["a"], Mood::Connecting);
    let balance: Balance<_, (), _> =
        Balance::builder(changes).policy(RoundRobin::new()).failfast(Duration::from_secs(3)).build();
    let waiting = tokio::spawn(balance.clone().oneshot(()));
    sleep(Duration::from_secs(2)).await;
    let b = Fake::new("b", Mood::Connecting);
    hand.insert("b", &b);
    sleep(Duration::from_secs(2)).await;
    assert!(!waiting.is_finished());
    b.set(FAST);
    assert_eq!(waiting.await.unwrap().unwrap(), "b");
}

#[tokio::test(start_paused = true)]
async fn what_one_endpoint_hands_back_is_spread_over_the_others() {
    let ([a, ..], _hand, changes) = fakes(["a", "b", "c", "d", "e"], FAST);
    let balance: Balance<_, (), _> =
        Balance::builder(changes).policy(Random).ejection(Ejection::off()).seed(1).build();
    settle().await;
    a.set(Mood::HandsBack);
    for _ in 0..4_000 {
        balance.clone().oneshot(()).await.unwrap();
    }
    assert!(view(&balance, "a").picks > 700);
    for id in ["b", "c", "d", "e"] {
        let picks = view(&balance, id).picks;
        assert!(picks.abs_diff(1_000) < 100, "{picks} of {id}");
    }
}
