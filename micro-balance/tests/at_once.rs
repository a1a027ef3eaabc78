//! What the driver knows counts at once, although it publishes a snapshot once a millisecond.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use micro_balance::{Balance, Ejection, State, health::HealthCheck, policy::RoundRobin};
use support::{FAST, Fake, Mood, fakes, settle, share, view};
use tokio::{sync::Notify, task::yield_now, time::sleep};
use tower::{BoxError, ServiceExt};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Lets the driver do what there is to do now, at the same instant.
async fn turn() {
    for _ in 0..10 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_gone_takes_no_request_though_the_next_snapshot_is_yet_to_come() {
    let (_fakes, hand, changes) = fakes(["a", "b"], FAST);
    let balance: Balance<_, (), _> = Balance::builder(changes).policy(RoundRobin::starting_at(0)).build();
    settle().await;
    hand.insert("c", &Fake::new("c", FAST));
    turn().await;
    hand.remove("a");
    turn().await;
    assert!(balance.endpoints().iter().any(|view| *view.id == *"a"), "it was not published yet");
    assert_eq!(share(&balance, "a", 12).await, 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_ejected_takes_no_request_though_the_next_snapshot_is_yet_to_come() {
    let ([a, _b], hand, changes) = fakes(["a", "b"], FAST);
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(RoundRobin::starting_at(0))
        .ejection(Ejection::default().consecutive_failures(1))
        .build();
    settle().await;
    a.set(Mood::Fails(ms(0)));
    hand.insert("c", &Fake::new("c", FAST));
    turn().await;
    while balance.clone().oneshot(()).await.is_ok() {}
    turn().await;
    assert_eq!(view(&balance, "a").state, State::Ready, "it was not published yet");
    assert_eq!(share(&balance, "a", 12).await, 0);
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_does_not_count_as_well_where_it_is_a_question_of_panic() {
    for anew in [0, 10] {
        let (fakes, hand, changes) = fakes(["a", "b", "c", "d", "e", "f"], FAST);
        let ejection = Ejection::default().consecutive_failures(1).max_percent(100).panic_percent(60);
        let balance: Balance<_, (), _> =
            Balance::builder(changes).policy(RoundRobin::starting_at(0)).ejection(ejection).build();
        settle().await;
        for gone in ["c", "d", "e", "f"] {
            hand.remove(gone);
            settle().await;
        }
        // So many changes at once have everything worked out anew.
        for _ in 0..anew {
            (0..100).for_each(|_| hand.insert("a", &fakes[0]));
            settle().await;
        }
        fakes[0].set(Mood::Fails(ms(0)));
        while balance.clone().oneshot(()).await.is_ok() {}
        fakes[0].set(FAST);
        settle().await;
        assert_eq!(view(&balance, "a").state, State::Ejected);
        assert_eq!(share(&balance, "a", 10).await, 5, "one of two is too few");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_found_unwell_takes_no_request_though_the_next_snapshot_is_yet_to_come() {
    let (_fakes, hand, changes) = fakes(["a", "b"], FAST);
    let (told, asked) = (Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
    let (tells, counts) = (told.clone(), asked.clone());
    let check = move |fake: Fake| {
        let waits = fake.name() == "a" && counts.fetch_add(1, Relaxed) > 0;
        let tells = tells.clone();
        async move {
            if waits {
                tells.notified().await;
                return Err::<(), BoxError>("not well".into());
            }
            Ok(())
        }
    };
    let schedule = HealthCheck::default().interval(ms(20_000)).timeout(ms(10_000)).jitter(0.0);
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(RoundRobin::starting_at(0))
        .health_check(schedule.unhealthy_threshold(1), check)
        .build();
    sleep(ms(20_050)).await;
    hand.insert("c", &Fake::new("c", FAST));
    turn().await;
    told.notify_one();
    turn().await;
    assert_eq!(view(&balance, "a").state, State::Ready, "it was not published yet");
    assert_eq!(share(&balance, "a", 12).await, 0);
    settle().await;
    assert_eq!(view(&balance, "a").state, State::Unhealthy);
}
