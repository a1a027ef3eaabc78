//! One endpoint at a time, while the set of endpoints changes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use micro_balance::{
    Balance, Endpoint, Reconnect, State,
    State::{Connecting, Idle, Ready},
    policy::{Context, PickFirst, Policy, Turns},
};
use support::{FAST, Fake, Mood, fakes, settle};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt};

type First = Balance<Fake, (), PickFirst>;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn states<P: Policy>(balance: &Balance<Fake, (), P>) -> Vec<State> {
    balance.endpoints().into_iter().map(|view| view.state).collect()
}

#[tokio::test(start_paused = true)]
async fn a_set_that_changes_all_the_time_keeps_nobody_from_being_tried() {
    let ([_hole], hand, changes) = fakes(["0"], Mood::Connecting);
    hand.insert("1", &Fake::new("1", FAST));
    let balance: First = Balance::builder(changes).policy(PickFirst::new()).build();
    let began = Instant::now();
    let answer = tokio::spawn(balance.clone().oneshot(()));
    for name in ["2", "3", "4", "5", "6", "7", "8", "9"] {
        sleep(ms(100)).await;
        hand.insert(name, &Fake::new(name, FAST));
        if answer.is_finished() {
            break;
        }
    }
    assert_eq!(answer.await.unwrap().unwrap(), "1");
    assert!(began.elapsed() <= ms(301), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn attempts_go_on_when_the_set_changes_and_so_does_their_time() {
    let ([a, b, c], hand, changes) = fakes(["a", "b", "c"], Mood::Connecting);
    let balance: First = Balance::builder(changes).policy(PickFirst::new()).build();
    sleep(ms(400)).await;
    hand.insert("d", &Fake::new("d", Mood::Connecting));
    settle().await;
    assert_eq!(states(&balance), [Connecting, Connecting, Idle, Idle]);
    sleep(ms(90)).await;
    assert_eq!(states(&balance), [Connecting, Connecting, Idle, Idle]);
    sleep(ms(10)).await;
    assert_eq!(states(&balance), [Connecting, Connecting, Connecting, Idle]);
    assert_eq!([a.asked(), b.asked(), c.asked()], [1; 3], "none was begun anew");
    b.set(FAST);
    settle().await;
    assert_eq!(states(&balance), [Idle, Ready, Idle, Idle]);
}

#[tokio::test(start_paused = true)]
async fn who_is_ready_leaves_the_others_alone_however_the_set_changes() {
    let ([_a, b], hand, changes) = fakes(["a", "b"], FAST);
    let balance: First = Balance::builder(changes).policy(PickFirst::new()).build();
    sleep(ms(1_000)).await;
    let c = Fake::new("c", FAST);
    hand.insert("c", &c);
    sleep(ms(1_000)).await;
    assert_eq!((states(&balance), b.asked(), c.asked()), (vec![Ready, Idle, Idle], 0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_again_and_again_leaves_the_next_one_its_time() {
    let ([a, b, c], _hand, changes) = fakes(["a", "b", "c"], Mood::Connecting);
    a.set(Mood::Refuses);
    let balance: First =
        Balance::builder(changes).policy(PickFirst::new()).reconnect(Reconnect::new(ms(20), ms(20))).build();
    sleep(ms(240)).await;
    assert!(a.asked() > 5, "{}", a.asked());
    assert_eq!((b.asked(), c.asked()), (1, 0));
    sleep(ms(20)).await;
    assert_eq!(c.asked(), 1);
    drop(balance);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_lost_while_it_is_connected_anew_is_replaced_as_any_other() {
    let ([a, _b], hand, changes) = fakes(["a", "b"], FAST);
    let balance: First = Balance::builder(changes).policy(PickFirst::new()).build();
    settle().await;
    let anew = Fake::new("a", Mood::Connecting);
    hand.insert("a", &anew);
    settle().await;
    assert_eq!(balance.clone().oneshot(()).await.unwrap(), "a");
    a.set(Mood::Connecting);
    let began = Instant::now();
    assert_eq!(balance.clone().oneshot(()).await.unwrap(), "b");
    assert!((250..260).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(anew.asked(), 1, "its attempt was not begun anew");
}

/// Nobody but the one that was found last. Something may happen while it says so.
#[derive(Clone, Default)]
struct Newest(Arc<Mutex<Option<Meanwhile>>>);

type Meanwhile = Box<dyn FnOnce() + Send>;

impl Policy for Newest {
    type Table = ();

    fn table(&self, _: &[Endpoint]) {}

    fn pick(&self, (): &(), _: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        Some(0)
    }

    fn turns(&self, endpoints: &[Endpoint]) -> Option<Turns> {
        if !endpoints.is_empty()
            && let Some(meanwhile) = self.0.lock().unwrap().take()
        {
            meanwhile();
        }
        let order = endpoints.len().checked_sub(1).into_iter().collect();
        Some(Turns { order, delay: ms(250) })
    }
}

#[tokio::test(start_paused = true)]
async fn of_one_that_was_let_go_nothing_is_kept_and_its_attempt_comes_to_nothing() {
    for mood in [FAST, Mood::Connecting] {
        let ([a], hand, changes) = fakes(["a"], mood);
        let balance: Balance<_, (), _> = Balance::builder(changes).policy(Newest::default()).build();
        settle().await;
        assert!(a.clones() > 1, "it is connected, or is to be");
        let b = Fake::new("b", Mood::Connecting);
        hand.insert("b", &b);
        sleep(ms(50)).await;
        assert_eq!(a.clones(), 1, "what discovery gave");
        a.set(FAST);
        settle().await;
        assert_eq!(states(&balance), [Idle, Connecting]);
        b.set(FAST);
        settle().await;
        assert_eq!((states(&balance), a.clones()), (vec![Idle, Ready], 1));
        assert_eq!(balance.clone().oneshot(()).await.unwrap(), "b");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_lost_at_the_moment_it_is_let_go_of_is_not_connected_again() {
    let ([a], hand, changes) = fakes(["a"], FAST);
    let newest = Newest::default();
    let balance: Balance<_, (), _> = Balance::builder(changes).policy(newest.clone()).build();
    settle().await;
    a.set(Mood::Connecting);
    let request = Mutex::new(balance.clone());
    *newest.0.lock().unwrap() = Some(Box::new(move || {
        // It is not ready, which the request tells the driver.
        drop(request.lock().unwrap().call(()));
    }));
    let b = Fake::new("b", Mood::Connecting);
    hand.insert("b", &b);
    settle().await;
    assert!(newest.0.lock().unwrap().is_none(), "it happened");
    a.set(FAST);
    settle().await;
    assert_eq!((states(&balance), a.clones()), (vec![Idle, Connecting], 1));
}
