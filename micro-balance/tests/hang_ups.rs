//! What callers that give up on an answer tell of an endpoint, under policies that measure no latencies. Time is paused
//! throughout.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{future::Future, time::Duration};

use futures_util::future::join_all;
use http::Request;
use micro_balance::{
    Balance, Http, Reason, State,
    policy::{LeastRequest, Policy, Random, RoundRobin},
    timeout::TimeoutLayer,
};
use support::{
    FAST, Fake, Mood, fakes,
    host::{BREAKS, Host, SILENT},
    settle,
};
use tokio::time::{sleep, timeout};
use tower::{Layer, ServiceExt, discover::ServiceList};

const MS: Duration = Duration::from_millis(1);

type Balanced<P> = Balance<Fake, (), P>;

/// Three endpoints in this mood, behind a balancer with its ejection as it is unless told otherwise. Where `told`, it keeps how
/// long answers take for the figures that it tells.
async fn three<P: Policy>(mood: Mood, policy: P, told: bool) -> ([Fake; 3], support::Hand, Balanced<P>) {
    let (fakes, hand, changes) = fakes(["a", "b", "c"], mood);
    let builder = Balance::builder(changes).policy(policy).seed(3);
    let balance = if told { builder.metrics(1_000 * MS) } else { builder }.build();
    settle().await;
    (fakes, hand, balance)
}

/// Sends so many requests at once, whose callers wait for so long.
fn send<P: Policy>(balance: &Balanced<P>, requests: usize, patience: Duration) -> impl Future<Output = ()> {
    let calls: Vec<_> = (0..requests).map(|_| timeout(patience, balance.clone().oneshot(()))).collect();
    async move { drop(join_all(calls).await) }
}

fn failures<P: Policy>(balance: &Balanced<P>) -> u64 {
    balance.endpoints().iter().map(|view| view.failures).sum()
}

async fn hang_up_on_who_answers_others(policy: impl Policy, told: bool) {
    let (_fakes, _hand, balance) = three(Mood::Answers(20 * MS), policy, told).await;
    for _ in 0..200 {
        let impatient = async {
            sleep(15 * MS).await;
            send(&balance, 30, 10 * MS).await;
        };
        tokio::join!(send(&balance, 30, 50 * MS), impatient);
        sleep(100 * MS).await;
    }
    let views = balance.endpoints();
    assert!(views.iter().all(|view| (view.ejections, view.state) == (0, State::Ready)), "{views:?}");
    assert_eq!(failures(&balance), 0);
}

#[tokio::test(start_paused = true)]
async fn callers_that_hang_up_on_an_endpoint_that_answers_others_have_it_ejected_under_no_policy() {
    for told in [false, true] {
        hang_up_on_who_answers_others(LeastRequest, told).await;
        hang_up_on_who_answers_others(RoundRobin::starting_at(0), told).await;
        hang_up_on_who_answers_others(Random, told).await;
    }
}

async fn hang_up_on_who_answers_nobody(policy: impl Policy, told: bool) {
    let (fakes, _hand, balance) = three(FAST, policy, told).await;
    fakes[0].set(Mood::Silent);
    for _ in 0..20 {
        send(&balance, 3, 50 * MS).await;
    }
    settle().await;
    let black = &balance.endpoints()[0];
    assert_eq!((black.ejections > 0, black.ejected), (true, Some(Reason::Failures)), "{black:?}");
}

#[tokio::test(start_paused = true)]
async fn callers_that_hang_up_on_an_endpoint_that_answers_nobody_have_it_ejected() {
    for told in [false, true] {
        hang_up_on_who_answers_nobody(LeastRequest, told).await;
        hang_up_on_who_answers_nobody(RoundRobin::starting_at(0), told).await;
        hang_up_on_who_answers_nobody(Random, told).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_says_that_it_failed_is_an_answer_and_a_broken_connection_is_none() {
    for (status, failed) in [(200, 0), (503, 1), (BREAKS, 2)] {
        let host = Host::new();
        let balance = Balance::builder(ServiceList::new::<Request<()>>([host.clone()]))
            .policy(RoundRobin::new())
            .protocol(Http)
            .build();
        settle().await;
        host.set(SILENT);
        let mut given_up = tokio_test::task::spawn(balance.clone().oneshot(Request::new(())));
        assert!(given_up.poll().is_pending());
        host.set(status);
        drop(balance.clone().oneshot(Request::new(())).await);
        drop(given_up);
        assert_eq!(balance.endpoints()[0].failures, failed, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_had_its_time_has_failed_whoever_else_was_answered() {
    let (fakes, _hand, balance) = three(FAST, RoundRobin::starting_at(0), false).await;
    fakes.iter().for_each(|fake| fake.set(Mood::Silent));
    let limited = TimeoutLayer::per_attempt(10 * MS).layer(balance.clone());
    let late = join_all((0..3).map(|_| limited.clone().oneshot(())));
    let answered = async {
        sleep(MS).await;
        fakes.iter().for_each(|fake| fake.set(FAST));
        send(&balance, 3, MS).await;
    };
    let (late, ()) = tokio::join!(late, answered);
    assert!(late.iter().all(Result::is_err));
    assert_eq!(failures(&balance), 3);
}
