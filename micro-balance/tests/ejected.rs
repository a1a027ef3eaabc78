//! How an ejected endpoint comes back, and what of the time before it does not count any more.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use micro_balance::{
    Balance, Ejection, FailurePercentage, Latency, Reason, State,
    State::{Ejected, HalfOpen, Ready},
    health::HealthCheck,
    policy::{Policy, RoundRobin},
};
use support::{FAST, Fake, Mood, fakes, settle};
use tokio::time::{Instant, sleep};
use tower::{BoxError, ServiceExt};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn ejection() -> Ejection {
    Ejection::off().consecutive_failures(1).base(ms(1_000)).max(ms(8_000)).max_percent(100)
}

fn first<P: Policy>(balance: &Balance<Fake, (), P>) -> (State, Option<Reason>, u64) {
    let view = balance.endpoints().swap_remove(0);
    (view.state, view.ejected, view.ejections)
}

/// Has `fake` ejected by a request that it fails.
async fn eject<P: Policy>(balance: &Balance<Fake, (), P>, fake: &Fake) {
    fake.set(Mood::Fails(ms(0)));
    while balance.clone().oneshot(()).await.is_ok() {}
    fake.set(FAST);
    settle().await;
}

type Two = ([Fake; 2], support::Hand, Balance<Fake, (), RoundRobin>);

fn two(ejection: Ejection) -> Two {
    let (fakes, hand, changes) = fakes(["a", "b"], FAST);
    (fakes, hand, Balance::builder(changes).policy(RoundRobin::starting_at(0)).ejection(ejection).build())
}

#[tokio::test(start_paused = true)]
async fn requests_that_were_under_way_when_it_was_ejected_do_not_have_it_ejected_once_more() {
    let ([a, _b], _hand, balance) = two(ejection());
    settle().await;
    let mut calls = Vec::new();
    // Two at once, and some later.
    for wait in [100, 100, 200, 300] {
        a.set(Mood::Fails(ms(wait)));
        calls.push(tokio::spawn(balance.clone().oneshot(())));
        calls.push(tokio::spawn(balance.clone().oneshot(())));
        tokio::task::yield_now().await;
    }
    a.set(FAST);
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.as_ref().unwrap().is_err()).count(), 4);
    assert_eq!(first(&balance), (Ejected, Some(Reason::Failures), 1));
    sleep(ms(900)).await;
    assert_eq!(first(&balance).0, HalfOpen, "a second after the first failure");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_ejected_is_left_alone_though_the_snapshot_from_before_still_has_it() {
    let ([a, _b], hand, balance) = two(ejection());
    let now = async || {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        Instant::now()
    };
    settle().await;
    // What is published now keeps the next snapshot back for a millisecond.
    hand.insert("c", &Fake::new("c", FAST));
    let began = now().await;
    a.set(Mood::Fails(ms(0)));
    while balance.clone().oneshot(()).await.is_ok() {}
    now().await;
    let calls = a.calls();
    for _ in 0..12 {
        balance.clone().oneshot(()).await.unwrap();
    }
    assert_eq!((a.calls(), now().await), (calls, began));
}

#[tokio::test(start_paused = true)]
async fn one_that_nobody_comes_to_try_is_well_after_as_long_as_a_first_ejection_lasts() {
    let ([a, _b], _hand, balance) = two(ejection());
    settle().await;
    eject(&balance, &a).await;
    sleep(ms(1_000)).await;
    assert_eq!(first(&balance), (HalfOpen, Some(Reason::Failures), 1));
    sleep(ms(990)).await;
    assert_eq!(first(&balance).0, HalfOpen);
    sleep(ms(20)).await;
    assert_eq!(first(&balance), (Ready, None, 1), "nothing is the matter with it any more");
}

#[tokio::test(start_paused = true)]
async fn while_a_request_tries_one_it_is_not_well_and_a_while_after_that_was_given_up_it_is() {
    let ([a, _b], _hand, balance) = two(ejection());
    settle().await;
    eject(&balance, &a).await;
    sleep(ms(1_000)).await;
    a.set(Mood::Silent);
    let trying = tokio::spawn(balance.clone().oneshot(()));
    sleep(ms(1_500)).await;
    assert_eq!(first(&balance).0, HalfOpen);
    trying.abort();
    settle().await;
    let given_up = first(&balance).0;
    assert!([HalfOpen, Ejected].contains(&given_up), "{given_up:?}");
    sleep(ms(5_000)).await;
    assert_eq!(first(&balance).0, Ready);
}

/// Two whose ejections end with a probe that takes its time, and then says no.
fn probed(wait: Duration, ejection: Ejection) -> Two {
    let (fakes, hand, changes) = fakes(["a", "b"], FAST);
    let balance = Balance::builder(changes)
        .policy(RoundRobin::starting_at(0))
        .ejection(ejection)
        .probe(move |_: Fake| async move {
            sleep(wait).await;
            Err::<(), BoxError>("not well".into())
        })
        .build();
    (fakes, hand, balance)
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_nobody_answers_has_failed_after_five_seconds() {
    let ([a, _b], _hand, balance) = probed(Duration::MAX, ejection());
    settle().await;
    eject(&balance, &a).await;
    sleep(ms(5_980)).await;
    assert_eq!(first(&balance), (Ejected, Some(Reason::Failures), 1));
    sleep(ms(30)).await;
    assert_eq!(first(&balance), (Ejected, Some(Reason::Failures), 2));
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_its_probe_is_out_for_what_it_was_out_for() {
    let local = Ejection::off().local_failures(1).base(ms(1_000)).max(ms(8_000));
    let ([a, _b], _hand, balance) = probed(ms(0), local);
    settle().await;
    eject(&balance, &a).await;
    let (_, reason, _) = first(&balance);
    assert!(reason.is_some_and(|reason| reason != Reason::Failures), "{reason:?}");
    sleep(ms(1_100)).await;
    assert_eq!(first(&balance), (Ejected, reason, 2));
}

#[tokio::test(start_paused = true)]
async fn a_probe_says_nothing_of_one_that_was_found_well_meanwhile() {
    let (fakes, _hand, changes) = fakes(["a", "b"], FAST);
    let well = Arc::new(AtomicBool::new(true));
    let says = well.clone();
    let check = move |_: Fake| {
        let well = says.load(Relaxed);
        async move { if well { Ok(()) } else { Err::<(), BoxError>("not well".into()) } }
    };
    let schedule = HealthCheck::default().interval(ms(700)).jitter(0.0);
    let schedule = schedule.unhealthy_threshold(1).healthy_threshold(1);
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(RoundRobin::starting_at(0))
        .ejection(ejection())
        .health_check(schedule, check)
        .probe(|_: Fake| async {
            sleep(ms(3_000)).await;
            Err::<(), BoxError>("not well".into())
        })
        .build();
    settle().await;
    eject(&balance, &fakes[0]).await;
    well.store(false, Relaxed);
    sleep(ms(800)).await;
    assert_eq!(first(&balance), (State::Unhealthy, Some(Reason::Failures), 1), "unwell and ejected");
    sleep(ms(1_000)).await;
    well.store(true, Relaxed);
    sleep(ms(800)).await;
    assert_eq!(first(&balance), (Ready, None, 1), "the word of a check counts");
    sleep(ms(10_000)).await;
    assert_eq!(first(&balance), (Ready, None, 1));
}

#[tokio::test(start_paused = true)]
async fn intervals_in_which_one_is_too_slow_count_only_in_a_row() {
    let (fakes, _hand, changes) = fakes(["a", "b", "c", "d", "e"], Mood::Answers(ms(10)));
    let rule = Latency::default().request_volume(1).intervals(2);
    let ejection = Ejection::off().latency(rule).interval(ms(1_000)).base(ms(9_000)).max(ms(9_000));
    let balance: Balance<_, (), _> =
        Balance::builder(changes).policy(RoundRobin::starting_at(0)).ejection(ejection).build();
    let interval = async |takes: u64| {
        fakes[0].set(Mood::Answers(ms(takes)));
        for _ in 0..10 {
            let calls = (0..10).map(|_| balance.clone().oneshot(()));
            futures_util::future::join_all(calls).await;
            sleep(ms(100 - takes)).await;
        }
    };
    settle().await;
    for _ in 0..4 {
        interval(50).await;
        interval(10).await;
    }
    assert_eq!(first(&balance).2, 0);
    interval(50).await;
    interval(50).await;
    interval(10).await;
    assert_eq!(first(&balance), (Ejected, Some(Reason::Latency), 1));
}

#[tokio::test(start_paused = true)]
async fn who_is_compared_with_others_goes_on_being_checked() {
    let (_fakes, _hand, changes) = fakes(["a", "b", "c"], Mood::Answers(ms(10)));
    let well = Arc::new(AtomicBool::new(true));
    let says = well.clone();
    let check = move |fake: Fake| {
        let well = says.load(Relaxed) || fake.name() != "a";
        async move { if well { Ok(()) } else { Err::<(), BoxError>("not well".into()) } }
    };
    let ejection = Ejection::off().latency(Latency::default().request_volume(1)).interval(ms(1_000));
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(RoundRobin::starting_at(0))
        .ejection(ejection)
        .health_check(HealthCheck::default().interval(ms(700)).unhealthy_threshold(1), check)
        .build();
    for _ in 0..500 {
        balance.clone().oneshot(()).await.unwrap();
    }
    well.store(false, Relaxed);
    sleep(ms(1_500)).await;
    assert_eq!(first(&balance).0, State::Unhealthy);
}

#[tokio::test(start_paused = true)]
async fn who_fails_and_is_too_slow_in_one_interval_is_ejected_once() {
    let (fakes, _hand, changes) = fakes(["a", "b", "c", "d", "e"], Mood::Answers(ms(10)));
    let failing = FailurePercentage::default().threshold(40.0).minimum_hosts(1).request_volume(1);
    let slow = Latency::default().request_volume(1).intervals(1);
    let ejection =
        Ejection::off().failure_percentage(failing).latency(slow).interval(ms(1_000)).max_percent(100);
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(RoundRobin::starting_at(0))
        .ejection(ejection.base(ms(9_000)).max(ms(90_000)))
        .build();
    settle().await;
    for round in 0..4 {
        fakes[0].set(if round % 2 == 0 { Mood::Fails(ms(40)) } else { Mood::Answers(ms(40)) });
        for _ in 0..5 {
            let _ = balance.clone().oneshot(()).await;
        }
    }
    sleep(ms(1_000)).await;
    assert_eq!(first(&balance), (Ejected, Some(Reason::FailurePercentage), 1));
}
