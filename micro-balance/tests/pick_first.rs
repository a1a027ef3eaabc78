//! One endpoint at a time: who it is, how soon it is found, and when it is another.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use micro_balance::{Attributes, Balance, State, policy::PickFirst};
use support::{FAST, Fake, Hand, Mood, fakes, settle};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

type First = Balance<Fake, (), PickFirst>;

fn ready(balance: &First) -> Vec<String> {
    let views = balance.endpoints().into_iter();
    views.filter(|view| view.state == State::Ready).map(|view| view.id.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_in_the_order_of_discovery_takes_every_request() {
    let (fakes, _hand, changes) = fakes(["c", "a", "b"], FAST);
    let balance: First = Balance::builder(changes).policy(PickFirst::new()).build();
    for _ in 0..10 {
        assert_eq!(balance.clone().oneshot(()).await.unwrap(), "c");
    }
    assert_eq!(ready(&balance), ["c"]);
    assert_eq!([fakes[1].asked(), fakes[2].asked()], [0, 0], "others were not even connected");
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_costs_a_quarter_of_a_second() {
    let ([hole, _b, c], _hand, changes) = fakes(["hole", "b", "c"], FAST);
    hole.set(Mood::Connecting);
    let balance: First = Balance::builder(changes).policy(PickFirst::new()).build();
    let began = Instant::now();
    assert_eq!(balance.clone().oneshot(()).await.unwrap(), "b");
    assert!((250..260).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(c.asked(), 0);
    // It is kept, also when the one before it could be had.
    hole.set(FAST);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(balance.oneshot(()).await.unwrap(), "b");
}

/// Happy eyeballs, gRPC's A61: attempts go on while others begin, and whichever is there first is the one.
#[tokio::test(start_paused = true)]
async fn attempts_go_on_beside_later_ones_and_the_first_that_is_ready_is_the_one() {
    use State::{Connecting, Idle};
    for winner in 0..3 {
        let (fakes, _hand, changes) = fakes(["a", "b", "c"], Mood::Connecting);
        let balance: First = Balance::builder(changes).policy(PickFirst::new()).build();
        let states = || -> Vec<State> { balance.endpoints().into_iter().map(|view| view.state).collect() };
        for expected in [[Connecting, Idle, Idle], [Connecting, Connecting, Idle], [Connecting; 3]] {
            sleep(Duration::from_millis(240)).await;
            assert_eq!(states(), expected);
            sleep(Duration::from_millis(10)).await;
        }
        fakes[winner].set(FAST);
        settle().await;
        let alone = [0, 1, 2].map(|place| if place == winner { State::Ready } else { Idle });
        assert_eq!(states(), alone);
        assert_eq!(balance.clone().oneshot(()).await.unwrap(), fakes[winner].name());
    }
}

/// The quarter of a second is that of the attempt before, and not of one that has failed.
#[tokio::test(start_paused = true)]
async fn the_attempt_after_one_that_failed_has_its_own_time() {
    let (fakes, _hand, changes) = fakes(["a", "b", "c"], Mood::Connecting);
    let balance: First = Balance::builder(changes).policy(PickFirst::new()).build();
    let asked = || [0, 1, 2].map(|place: usize| fakes[place].asked() > 0);
    settle().await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(asked(), [true, false, false]);
    fakes[0].set(Mood::Refuses);
    settle().await;
    assert_eq!(asked(), [true, true, false]);
    sleep(Duration::from_millis(230)).await;
    assert_eq!(asked(), [true, true, false], "a third of a second after the first");
    sleep(Duration::from_millis(30)).await;
    assert_eq!(asked(), [true; 3]);
    drop(balance);
}

#[tokio::test(start_paused = true)]
async fn one_that_refuses_costs_nothing() {
    let ([a, b, _c], _hand, changes) = fakes(["a", "b", "c"], FAST);
    [&a, &b].into_iter().for_each(|fake| fake.set(Mood::Refuses));
    let balance: First = Balance::builder(changes).policy(PickFirst::new()).build();
    let began = Instant::now();
    assert_eq!(balance.oneshot(()).await.unwrap(), "c");
    assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_one_that_is_lost_is_replaced_and_never_are_two_ready() {
    let ([a, _b, _c], _hand, changes) = fakes(["a", "b", "c"], FAST);
    let balance: First = Balance::builder(changes).policy(PickFirst::new()).build();
    settle().await;
    a.set(Mood::Refuses);
    for _ in 0..50 {
        assert_eq!(balance.clone().oneshot(()).await.unwrap(), "b");
        assert!(ready(&balance).len() <= 1);
    }
    a.set(FAST);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(ready(&balance), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_refused_before_the_last_was_found_costs_nothing_once_more() {
    let ([a, b, c], _hand, changes) = fakes(["a", "b", "c"], FAST);
    a.set(Mood::Refuses);
    let balance: First = Balance::builder(changes).policy(PickFirst::new()).build();
    assert_eq!(balance.clone().oneshot(()).await.unwrap(), "b");
    // It is tried anew at once, and after a quarter of a second the others are.
    b.set(Mood::Connecting);
    let began = Instant::now();
    assert_eq!(balance.clone().oneshot(()).await.unwrap(), "c");
    assert!((250..260).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    // After the last the first is tried once more.
    a.set(FAST);
    c.set(Mood::Connecting);
    let began = Instant::now();
    assert_eq!(balance.oneshot(()).await.unwrap(), "a");
    assert!((250..260).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_drained_is_the_last_to_be_tried() {
    let (fakes, _hand, changes) = fakes(["a", "b"], FAST);
    let weight = |name: &&'static str, _: &Fake| Attributes {
        weight: u32::from(*name != "a"),
        ..Attributes::default()
    };
    let balance: First = Balance::builder(changes).policy(PickFirst::new()).attributes(weight).build();
    assert_eq!(balance.oneshot(()).await.unwrap(), "b");
    assert_eq!(fakes[0].asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_change_elsewhere_keeps_the_one_and_its_removal_does_not() {
    let ([a, b], hand, changes): (_, Hand, _) = fakes(["a", "b"], FAST);
    let balance: First = Balance::builder(changes).policy(PickFirst::new()).build();
    settle().await;
    hand.insert("0", &Fake::new("0", FAST));
    hand.remove("b");
    settle().await;
    assert_eq!(balance.clone().oneshot(()).await.unwrap(), "a");
    assert_eq!((a.asked(), b.asked()), (2, 0), "asked once to connect and once by the request");
    hand.remove("a");
    assert_eq!(balance.clone().oneshot(()).await.unwrap(), "a", "until the set has changed");
    settle().await;
    assert_eq!(balance.oneshot(()).await.unwrap(), "0");
}

/// grpc-go's `TestPickFirst_AddressesRemoved`.
#[tokio::test(start_paused = true)]
async fn who_is_removed_makes_room_for_the_next_in_the_order_there_is_then() {
    let ([a, _b, _c], hand, changes) = fakes(["a", "b", "c"], FAST);
    let balance: First = Balance::builder(changes).policy(PickFirst::new()).build();
    let first = async || {
        settle().await;
        balance.clone().oneshot(()).await.unwrap()
    };
    assert_eq!(first().await, "a");
    hand.remove("a");
    assert_eq!(first().await, "b");
    hand.insert("a", &a);
    assert_eq!(first().await, "b", "it comes last now");
    hand.remove("b");
    assert_eq!(first().await, "c");
    hand.remove("c");
    assert_eq!(first().await, "a");
}

/// grpc-go's `TestPickFirstHealthListenerDisabled`.
#[tokio::test(start_paused = true)]
async fn the_one_that_answers_with_failures_is_kept_as_nobody_else_is_connected() {
    let ([a, b], _hand, changes) = fakes(["a", "b"], FAST);
    let balance: First = Balance::builder(changes).policy(PickFirst::new()).build();
    settle().await;
    a.set(Mood::Fails(Duration::ZERO));
    for _ in 0..20 {
        assert_eq!(balance.clone().oneshot(()).await.unwrap_err().to_string(), "a failed");
        settle().await;
        assert_eq!(ready(&balance), ["a"]);
    }
    assert_eq!(b.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn when_all_have_failed_they_are_tried_again_until_one_is_ready() {
    let (fakes, _hand, changes) = fakes(["a", "b", "c"], Mood::Refuses);
    let balance: First = Balance::builder(changes).policy(PickFirst::new()).build();
    let error = balance.clone().oneshot(()).await.unwrap_err();
    let error = error.source().unwrap().to_string();
    assert!(error.contains("3 known endpoints"), "{error}");
    let asked: usize = fakes.iter().map(Fake::asked).sum();
    assert!((6..=20).contains(&asked), "{asked} attempts in 3 s");
    fakes[1].set(FAST);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(balance.clone().oneshot(()).await.unwrap(), "b");
    assert_eq!(ready(&balance), ["b"]);
}
