//! Endpoints that are connected again, or announced again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use micro_balance::{Attributes, Balance, Reconnect, State, eligible::SlowStart, policy::WeightedRoundRobin};
use support::{FAST, Fake, Mood, fakes, settle, share, view};
use tokio::time::sleep;
use tower::ServiceExt;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[tokio::test(start_paused = true)]
async fn one_that_is_busy_for_a_moment_does_not_start_slowly_once_more() {
    let ([_a, b], _hand, changes) = fakes(["a", "b"], FAST);
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(WeightedRoundRobin::new())
        .slow_start(SlowStart::new(ms(60_000)))
        .build();
    sleep(ms(120_000)).await;
    b.set(Mood::Connecting);
    share(&balance, "b", 4).await;
    settle().await;
    assert_eq!(view(&balance, "b").state, State::Connecting);
    b.set(FAST);
    settle().await;
    let its = share(&balance, "b", 1_000).await;
    assert!(its.abs_diff(500) < 10, "{its} of 1000");
}

#[tokio::test(start_paused = true)]
async fn why_one_was_not_reached_is_said_until_it_is() {
    let ([a], _hand, changes) = fakes(["a"], Mood::Refuses);
    let balance: Balance<_, ()> = Balance::builder(changes).build();
    settle().await;
    assert_eq!(view(&balance, "a").last_error.as_deref(), Some("a refused the connection"));
    a.set(FAST);
    sleep(ms(4_000)).await;
    let seen = view(&balance, "a");
    assert_eq!((seen.state, seen.last_error), (State::Ready, None));
    // Nor is it said once more when it is lost for another reason.
    a.set(Mood::Connecting);
    drop(tokio::time::timeout(ms(10), balance.clone().oneshot(())).await);
    let seen = view(&balance, "a");
    assert_eq!((seen.state, seen.last_error), (State::Connecting, None));
}

#[tokio::test(start_paused = true)]
async fn waits_between_attempts_are_kept_however_few_may_be_under_way_at_once() {
    let ([a], _hand, changes) = fakes(["a"], Mood::Refuses);
    let balance: Balance<_, ()> = Balance::builder(changes).connecting(1).build();
    sleep(ms(900)).await;
    assert_eq!(a.asked(), 1, "half of two seconds is the least");
    sleep(ms(9_100)).await;
    assert!((4..=11).contains(&a.asked()), "{} in ten seconds", a.asked());
    drop(balance);
}

#[tokio::test(start_paused = true)]
async fn the_first_wait_may_be_short_where_others_are_ready_and_only_there() {
    let mut early = 0;
    for seed in 0..20 {
        let ([a], _hand, changes) = fakes(["a"], FAST);
        let alone: Balance<_, ()> = Balance::builder(changes).seed(seed).build();
        settle().await;
        a.set(Mood::Refuses);
        drop(tokio::time::timeout(ms(1), alone.clone().oneshot(())).await);
        // The first attempt has failed at once.
        let asked = a.asked();
        sleep(ms(990)).await;
        assert_eq!(a.asked(), asked, "nobody else is there");
        let ([b, _c], _hand, changes) = fakes(["b", "c"], FAST);
        let both: Balance<_, ()> = Balance::builder(changes).seed(seed).build();
        settle().await;
        b.set(Mood::Refuses);
        share(&both, "b", 20).await;
        settle().await;
        let asked = b.asked();
        sleep(ms(980)).await;
        early += usize::from(b.asked() > asked);
    }
    assert!((3..=17).contains(&early), "{early} of 20");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_announced_anew_is_connected_anew_and_of_the_attempt_before_nothing_is_left() {
    let ([old], hand, changes) = fakes(["a"], Mood::Connecting);
    let balance: Balance<_, ()> = Balance::builder(changes).build();
    settle().await;
    assert!(old.clones() > 0);
    let new = Fake::new("a", Mood::Connecting);
    hand.insert("a", &new);
    settle().await;
    assert_eq!(old.clones(), 0);
    let seen = view(&balance, "a");
    assert_eq!((seen.state, seen.last_error, new.asked()), (State::Connecting, None, 1));
    new.set(FAST);
    assert_eq!(balance.oneshot(()).await.unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_announced_anew_waits_between_attempts_as_one_that_is_new() {
    let ([old], hand, changes) = fakes(["a"], Mood::Refuses);
    let reconnect = Reconnect::new(ms(100), ms(60_000));
    let balance: Balance<_, ()> = Balance::builder(changes).reconnect(reconnect).build();
    sleep(ms(300_000)).await;
    let asked = old.asked();
    sleep(ms(10_000)).await;
    assert!(old.asked() <= asked + 1, "waits have grown");
    let new = Fake::new("a", Mood::Refuses);
    hand.insert("a", &new);
    sleep(ms(10_000)).await;
    assert!((5..=14).contains(&new.asked()), "{}", new.asked());
    drop(balance);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_announced_anew_is_what_is_said_of_it_then_and_keeps_its_figures() {
    let ([_a, b], hand, changes) = fakes(["a", "b"], FAST);
    let weight = Arc::new(AtomicU32::new(1));
    let says = weight.clone();
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(WeightedRoundRobin::starting_at(0))
        .attributes(move |name: &&'static str, _: &Fake| Attributes {
            weight: if *name == "b" { says.load(Relaxed) } else { 1 },
            ..Attributes::default()
        })
        .build();
    settle().await;
    assert_eq!(share(&balance, "b", 100).await, 50);
    weight.store(3, Relaxed);
    hand.insert("b", &b);
    settle().await;
    let seen = view(&balance, "b");
    assert_eq!((seen.attributes.weight, seen.picks), (3, 50));
    assert!(share(&balance, "b", 400).await.abs_diff(300) <= 2);
    // The same once more changes nothing.
    hand.insert("b", &b);
    settle().await;
    assert_eq!(view(&balance, "b").attributes.weight, 3);
}
