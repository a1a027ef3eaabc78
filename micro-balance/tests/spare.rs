//! Endpoints that a subset leaves out, takes in and leaves out again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use micro_balance::{
    Balance, Reporter, Reports, State,
    State::{Connecting, Idle, Ready},
    eligible::{SlowStart, Subset},
    health::HealthCheck,
    policy::{OrcaWeighted, PickFirst, Policy, RoundRobin, WeightedRoundRobin},
};
use support::{FAST, Fake, count, discovery, fakes, settle};
use tokio::time::sleep;
use tower::{BoxError, ServiceExt};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn two() -> Subset {
    Subset::random(2).seed(5)
}

/// Three ids, the last of which is left out of a subset of two.
fn trio() -> [&'static str; 3] {
    let mut ids = ["a", "b", "c"];
    let chosen = two().choose(&ids);
    let out = (0..3).find(|index| !chosen.contains(index)).unwrap();
    ids.swap(out, 2);
    ids
}

fn state<P: Policy>(balance: &Balance<Fake, (), P>, id: &str) -> State {
    balance.endpoints().iter().find(|view| *view.id == *id).unwrap().state
}

#[tokio::test(start_paused = true)]
async fn one_that_is_left_out_again_is_let_go_of_and_starts_slowly_whenever_it_is_back() {
    let ids = trio();
    let ([a, b, c], hand, changes) = fakes(ids, FAST);
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(WeightedRoundRobin::new())
        .subset(two())
        .slow_start(SlowStart::new(secs(60)))
        .build();
    settle().await;
    assert_eq!(ids.map(|id| state(&balance, id)), [Ready, Ready, Idle]);
    sleep(secs(120)).await;
    for _ in 0..2 {
        hand.remove(ids[0]);
        for (after, share) in [(12, 500), (50, 1_500)] {
            sleep(secs(after)).await;
            let mut answers = Vec::new();
            for _ in 0..3_000 {
                answers.push(balance.clone().oneshot(()).await.unwrap());
            }
            let its = count(answers)[ids[2]];
            assert!(its.abs_diff(share) <= 60, "{its} of 3000 after {after} s more");
        }
        let asked = b.asked();
        hand.insert(ids[0], &a);
        sleep(secs(1)).await;
        assert_eq!(ids.map(|id| state(&balance, id)), [Ready, Ready, Idle]);
        assert_eq!(c.clones(), 1, "what discovery gave");
        assert_eq!(b.asked(), asked, "who stays is not connected anew");
        sleep(secs(120)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_back_takes_no_request_before_it_was_asked_again_whether_it_is_well() {
    let ids = trio();
    let ([a, _b, _c], hand, changes) = fakes(ids, FAST);
    let time = Arc::new(AtomicU64::new(1));
    let takes = time.clone();
    let check = move |_: Fake| {
        let wait = Duration::from_millis(takes.load(Relaxed));
        async move {
            sleep(wait).await;
            Ok::<_, BoxError>(())
        }
    };
    let schedule = HealthCheck::default().interval(secs(600)).timeout(secs(5)).jitter(0.0);
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(RoundRobin::starting_at(0))
        .subset(two())
        .health_check(schedule, check)
        .build();
    settle().await;
    hand.remove(ids[0]);
    sleep(secs(1)).await;
    assert_eq!(state(&balance, ids[2]), Ready);
    hand.insert(ids[0], &a);
    sleep(secs(1)).await;
    assert_eq!(state(&balance, ids[2]), Idle);
    time.store(2_000, Relaxed);
    hand.remove(ids[0]);
    sleep(secs(1)).await;
    assert_eq!(state(&balance, ids[2]), Connecting, "nothing is known of it yet");
    for _ in 0..4 {
        assert_eq!(balance.clone().oneshot(()).await.unwrap(), ids[1]);
    }
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(state(&balance, ids[2]), Ready);
}

/// Clients that are to share servers evenly have to mean the same by a place.
#[tokio::test(start_paused = true)]
async fn a_numbered_client_takes_the_same_part_whichever_order_discovery_names_them_in() {
    let ids = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for client in 0..4 {
        let subset = Subset::deterministic(2, client);
        let expected: Vec<_> = subset.choose(&ids).into_iter().map(|index| ids[index]).collect();
        for order in [[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0], [3, 0, 6, 5, 1, 7, 2, 4]] {
            let (hand, changes) = discovery();
            order.iter().for_each(|&index: &usize| hand.insert(ids[index], &Fake::new(ids[index], FAST)));
            let balance: Balance<_, (), _> =
                Balance::builder(changes).policy(RoundRobin::starting_at(0)).subset(subset).build();
            settle().await;
            let views = balance.endpoints().into_iter().filter(|view| view.state == Ready);
            assert_eq!(views.map(|view| view.id.to_string()).collect::<Vec<_>>(), expected, "{order:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn within_a_subset_one_at_a_time_is_tried_in_the_order_of_discovery() {
    let [first, second, out] = trio();
    for order in [[first, second, out], [second, first, out], [out, second, first]] {
        let (hand, changes) = discovery();
        order.iter().for_each(|id| hand.insert(id, &Fake::new(id, FAST)));
        let balance: Balance<_, (), _> =
            Balance::builder(changes).policy(PickFirst::new()).subset(two()).build();
        let expected = order.into_iter().find(|&id| id != out).unwrap();
        assert_eq!(balance.oneshot(()).await.unwrap(), expected, "{order:?}");
    }
}

/// Listens for ever, and is told nothing.
struct Listens;

impl Reporter<Fake> for Listens {
    fn reports(&self, service: Fake) -> BoxFuture<'static, Result<Reports, BoxError>> {
        let nothing = stream::once(async move {
            let _listened_to = service;
            pending().await
        });
        async move { Ok(Some(nothing.boxed())) }.boxed()
    }

    fn patience(&self) -> Duration {
        Duration::MAX
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_left_out_again_is_not_listened_to_any_more() {
    let ids = trio();
    let ([a, _b, c], hand, changes) = fakes(ids, FAST);
    let balance: Balance<_, (), _> =
        Balance::builder(changes).policy(OrcaWeighted::new()).subset(two()).load_reporter(Listens).build();
    settle().await;
    hand.remove(ids[0]);
    sleep(secs(1)).await;
    assert_eq!(state(&balance, ids[2]), Ready);
    hand.insert(ids[0], &a);
    sleep(secs(1)).await;
    assert_eq!((state(&balance, ids[2]), c.clones()), (Idle, 1), "what discovery gave");
}
