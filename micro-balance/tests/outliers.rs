//! Who is ejected for doing worse than the others: the tables of Envoy and gRPC, and what holds whatever
//! happens. Time is paused throughout.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use micro_balance::{
    Balance, BrokenBody, Ejection, FailurePercentage, Http, Latency, NotSent, Reason, State, SuccessRate,
    View,
    eligible::Subset,
    policy::{LeastRequest, PeakEwma, Policy, RoundRobin},
};
use proptest::prelude::*;
use serde_json::Value;
use support::{
    FAST, Fake, Hand, Mood,
    host::{BREAKS, Host},
    settle,
};
use tokio::time::{Instant, sleep};
use tower::{BoxError, Service, ServiceExt, discover::ServiceList};

const FAILS: Mood = Mood::Fails(Duration::ZERO);
const NAMES: [&str; 20] = [
    "00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15", "16",
    "17", "18", "19",
];

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn table() -> Value {
    serde_json::from_str(include_str!("data/outlier_detection.json")).unwrap()
}

type RoundRobinBalance = Balance<Fake, (), RoundRobin>;

/// So many endpoints, the first `failing` of which fail, and a balancer that asks them in turn.
async fn fleet(count: usize, failing: usize, ejection: Ejection) -> (Vec<Fake>, Hand, RoundRobinBalance) {
    let (hand, changes) = support::discovery();
    let fakes: Vec<_> = NAMES[..count].iter().map(|name| Fake::new(name, FAST)).collect();
    for (name, fake) in NAMES.iter().zip(&fakes) {
        hand.insert(name, fake);
    }
    let balance = Balance::builder(changes).policy(RoundRobin::new()).ejection(ejection).seed(1).build();
    settle().await;
    fakes[..failing].iter().for_each(|fake| fake.set(FAILS));
    (fakes, hand, balance)
}

async fn send<P: micro_balance::policy::Policy>(balance: &Balance<Fake, (), P>, requests: usize) {
    for _ in 0..requests {
        let _ = balance.clone().oneshot(()).await;
    }
}

fn ejected<P: micro_balance::policy::Policy>(balance: &Balance<Fake, (), P>) -> usize {
    let out = |state| matches!(state, State::Ejected | State::HalfOpen);
    balance.endpoints().iter().filter(|view| out(view.state)).count()
}

fn found<P: micro_balance::policy::Policy>(balance: &Balance<Fake, (), P>, reason: Reason) -> (u64, u64) {
    let of = balance.ejections().into_iter().find(|ejections| ejections.reason == reason).unwrap();
    (of.enforced, of.unenforced)
}

fn percentage() -> FailurePercentage {
    FailurePercentage::default().threshold(50.0).minimum_hosts(3).request_volume(3)
}

#[tokio::test(start_paused = true)]
async fn the_failure_percentage_ejects_as_in_the_cases_of_grpc() {
    let table = table();
    for case in table["grpc_cases"].as_array().unwrap() {
        let number = |name: &str, default| case.get(name).map_or(default, |value| value.as_u64().unwrap());
        let ejection = Ejection::off()
            .failure_percentage(percentage())
            .enforcing(Reason::FailurePercentage, number("enforcement", 100) as u8)
            .max_percent(number("max_ejection_percent", 10) as u32)
            .base(Duration::from_secs(60));
        let count = number("endpoints", 3) as usize;
        let (_fakes, _hand, balance) = fleet(count, number("failing", 0) as usize, ejection).await;
        send(&balance, count * number("calls_each", 5) as usize).await;
        sleep(Duration::from_secs(10)).await;
        assert_eq!(ejected(&balance) as u64, number("ejected", 0), "{}", case["name"]);
        let counted = found(&balance, Reason::FailurePercentage);
        assert_eq!(counted, (number("ejected", 0), number("unenforced", 0)), "{}", case["name"]);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_go_round_three_then_two_then_three_again_as_in_grpcs_end_to_end_test() {
    let table = table();
    let case = &table["grpc_e2e"];
    let number = |name: &str| case[name].as_u64().unwrap();
    let rate = SuccessRate::default()
        .factor(case["success_rate"]["stdev_factor"].as_f64().unwrap() / 1000.0)
        .minimum_hosts(3)
        .request_volume(5);
    let failures = percentage().request_volume(5);
    for rules in [Ejection::off().success_rate(rate), Ejection::off().failure_percentage(failures)] {
        let ejection = rules
            .interval(ms(number("interval_ms")))
            .base(ms(number("base_ejection_ms")))
            .max_percent(number("max_ejection_percent") as u32);
        let (fakes, _hand, balance) = fleet(3, 1, ejection).await;
        let calls = |fakes: &[Fake]| fakes.iter().map(Fake::take_calls).collect::<Vec<_>>();
        send(&balance, 30).await;
        assert_eq!(calls(&fakes), [10, 10, 10], "before there are figures");
        sleep(ms(55)).await;
        send(&balance, 30).await;
        assert_eq!(calls(&fakes), [0, 15, 15], "the first is out");
        fakes[0].set(FAST);
        sleep(ms(110)).await;
        send(&balance, 1).await;
        settle().await;
        calls(&fakes);
        send(&balance, 30).await;
        assert_eq!(calls(&fakes), [10, 10, 10], "it is back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_under_the_threshold_of_envoys_example_is_ejected() {
    let (fakes, _hand, balance) = fleet(5, 0, Ejection::envoy().consecutive_failures(0)).await;
    send(&balance, 5 * 50).await;
    fakes[0].set(FAILS);
    send(&balance, 5 * 50).await;
    assert_eq!(ejected(&balance), 0, "an interval has to end first");
    sleep(Duration::from_secs(10)).await;
    let view = &balance.endpoints()[0];
    assert_eq!((view.state, view.ejected), (State::Ejected, Some(Reason::SuccessRate)));
    assert_eq!((ejected(&balance), view.ejections), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_tenth_of_twenty_are_ejected_and_no_more() {
    let ejection = Ejection::off().failure_percentage(percentage());
    let (_fakes, _hand, balance) = fleet(20, 8, ejection).await;
    send(&balance, 20 * 5).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(ejected(&balance), 2);
    assert_eq!(found(&balance, Reason::FailurePercentage), (2, 6));
}

#[tokio::test(start_paused = true)]
async fn of_a_subset_no_more_are_ejected_than_of_as_many_endpoints() {
    let (hand, changes) = support::discovery();
    let fakes: Vec<_> = NAMES.iter().map(|name| Fake::new(name, FAST)).collect();
    NAMES.iter().zip(&fakes).for_each(|(name, fake)| hand.insert(name, fake));
    let ejection = Ejection::off().consecutive_failures(1).base(Duration::from_secs(60)).panic_percent(0);
    let balance = Balance::builder(changes)
        .policy(RoundRobin::new())
        .subset(Subset::random(5).seed(1))
        .ejection(ejection)
        .build();
    settle().await;
    fakes.iter().for_each(|fake| fake.set(FAILS));
    for _ in 0..5 {
        send(&balance, 5).await;
        settle().await;
    }
    assert_eq!(ejected(&balance), 1, "a tenth of twenty would be two");
}

#[tokio::test(start_paused = true)]
async fn each_ejection_in_a_row_is_a_base_longer_and_clean_intervals_take_one_back() {
    let ejection = Ejection::off()
        .consecutive_failures(1)
        .base(Duration::from_secs(30))
        .max(Duration::from_secs(300))
        .interval(Duration::from_secs(10));
    let (fakes, _hand, balance) = fleet(3, 1, ejection).await;
    send(&balance, 3).await;
    settle().await;
    // The ejection over, one request finds out that nothing is better.
    for times in 1..=3 {
        let due = Duration::from_secs(30 * times);
        sleep(due - ms(100)).await;
        assert_eq!(balance.endpoints()[0].state, State::Ejected, "time {times}");
        sleep(ms(110)).await;
        assert_eq!(balance.endpoints()[0].state, State::HalfOpen, "time {times}");
        send(&balance, 1).await;
        settle().await;
    }
    fakes[0].set(FAST);
    sleep(Duration::from_secs(121)).await;
    send(&balance, 1).await;
    settle().await;
    assert_eq!(balance.endpoints()[0].state, State::Ready);
    // Four clean intervals: the next ejection is the first again.
    sleep(Duration::from_secs(45)).await;
    fakes[0].set(FAILS);
    send(&balance, 3).await;
    sleep(ms(30_010)).await;
    assert_eq!(balance.endpoints()[0].state, State::HalfOpen);
}

/// How long it is until the first endpoint is in this state.
async fn until(balance: &RoundRobinBalance, state: State) -> Duration {
    let began = Instant::now();
    while balance.endpoints()[0].state != state {
        sleep(ms(5)).await;
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn who_is_found_in_one_interval_after_another_is_out_for_longer_each_time() {
    // Each time it is back before it is compared again.
    let ejection = Ejection::off()
        .failure_percentage(percentage())
        .interval(Duration::from_secs(10))
        .base(Duration::from_secs(3))
        .max(Duration::from_secs(7));
    let (fakes, _hand, balance) = fleet(5, 1, ejection).await;
    for out in [3, 6, 7] {
        fakes[0].set(FAILS);
        send(&balance, 5 * 5).await;
        until(&balance, State::Ejected).await;
        let time = until(&balance, State::HalfOpen).await;
        assert!(time.abs_diff(Duration::from_secs(out)) <= ms(10), "{time:?} instead of {out} s");
        fakes[0].set(FAST);
        send(&balance, 1).await;
        settle().await;
        assert_eq!(balance.endpoints()[0].state, State::Ready);
    }
    // Three clean intervals, and the next ejection is the first again.
    sleep(Duration::from_secs(30)).await;
    fakes[0].set(FAILS);
    send(&balance, 5 * 5).await;
    until(&balance, State::Ejected).await;
    assert!(until(&balance, State::HalfOpen).await.abs_diff(Duration::from_secs(3)) <= ms(10));
}

/// Finagle's failure accrual, as far as one kind of failures in a row goes.
#[tokio::test(start_paused = true)]
async fn so_many_in_a_row_eject_for_as_long_as_in_finagles_cases() {
    let table = table();
    for case in table["finagle_consecutive"].as_array().unwrap() {
        let events: Vec<_> = case["events"].as_str().unwrap().split(' ').collect();
        // One policy or else another is not ours; nor does anybody revive an endpoint by hand.
        if case.get("orElse").is_some() || events.contains(&"revive") {
            continue;
        }
        let time = Duration::from_secs(case["mark_dead_s"].as_u64().unwrap_or(5));
        let in_a_row = case["n"].as_u64().unwrap() as u32;
        let ejection = Ejection::off().consecutive_failures(in_a_row).base(time).max(time);
        let (fakes, _hand, balance) = fleet(2, 0, ejection).await;
        // What comes of each failure.
        let mut out = case["out"].as_array().unwrap().iter();
        for event in events {
            let dead = event == "F" && out.next().unwrap().is_u64();
            fakes[0].set(if event == "F" { FAILS } else { FAST });
            send(&balance, 2).await;
            settle().await;
            assert_eq!(ejected(&balance) == 1, dead, "{case}");
        }
        assert!(until(&balance, State::HalfOpen).await.abs_diff(time) <= ms(10), "{case}");
    }
}

/// go-micro's blacklist by its own cases, and what we make of its last one.
#[tokio::test(start_paused = true)]
async fn the_blacklist_is_that_of_go_micro() {
    let table = table();
    let list = &table["gomicro_blacklist"];
    let (one, all) = (&list["cases"][0], &list["cases"][1]);
    let number = |value: &Value| value.as_u64().unwrap() as usize;
    let (nodes, errors) = (number(&one["nodes"]), number(&one["mark_errors_on_one"]));
    let ejection = micro_balance::Strategy::Blacklist.ejection();
    let (fakes, _hand, balance) = fleet(nodes, 1, ejection.clone()).await;
    for round in 1..=errors {
        send(&balance, nodes).await;
        settle().await;
        assert_eq!(ejected(&balance) == 1, round >= number(&list["count"]), "after {round} errors");
    }
    assert_eq!(nodes - ejected(&balance), number(&one["remaining"]));
    fakes[0].set(FAST);
    let time = until(&balance, State::HalfOpen).await;
    assert!(time <= Duration::from_secs(list["ttl_s"].as_u64().unwrap()), "{time:?}");
    // Nothing but failures in a row: one request of three may fail for ever, among enough to be compared with.
    let (fakes, _hand, balance) = fleet(6, 0, ejection.clone()).await;
    for round in 0..600 {
        fakes[0].set(if round % 3 == 0 { FAILS } else { FAST });
        send(&balance, 6).await;
        sleep(ms(50)).await;
    }
    assert_eq!(balance.endpoints()[0].ejections, 0);
    // All of them: anybody, or nobody where that is wanted.
    assert_eq!((&all["mark_all"], &all["expect"]), (&true.into(), &"ErrNoneAvailable".into()));
    for (ejection, sent) in [(ejection.clone(), true), (ejection.panic_percent(1).fail_in_panic(true), false)]
    {
        let (fakes, _hand, balance) = fleet(nodes, nodes, ejection).await;
        for _ in 0..errors {
            send(&balance, nodes).await;
            settle().await;
        }
        fakes.iter().for_each(|fake| fake.set(FAST));
        let answer = balance.clone().oneshot(()).await;
        assert_eq!(answer.is_ok(), sent);
        assert!(sent || answer.is_err_and(|error| NotSent::is(error.as_ref())));
    }
}

/// The states in which the first of five ends, of which it alone answers with these statuses in turn.
async fn web(ejection: Ejection, statuses: &[u16]) -> Option<Reason> {
    let hosts: Vec<_> = (0..5).map(|_| Host::new()).collect();
    let balance = Balance::builder(ServiceList::new::<Request<()>>(hosts.clone()))
        .policy(RoundRobin::starting_at(0))
        .protocol(Http)
        .ejection(ejection)
        .seed(1)
        .build();
    settle().await;
    for status in statuses {
        hosts[0].set(*status);
        for _ in 0..5 {
            let _ = balance.clone().oneshot(Request::new(())).await;
        }
    }
    sleep(ms(1_010)).await;
    balance.endpoints()[0].ejected
}

#[tokio::test(start_paused = true)]
async fn gateways_failures_and_broken_connections_are_told_from_the_endpoints_own() {
    let off = || Ejection::off().interval(ms(1_000)).base(Duration::from_secs(60));
    let gateway = || off().gateway_failures(3);
    assert_eq!(web(gateway(), &[503, 502, 504]).await, Some(Reason::GatewayFailures));
    assert_eq!(web(gateway(), &[503, 0, 504]).await, Some(Reason::GatewayFailures));
    assert_eq!(web(gateway(), &[503, 502, 500, 504, 503]).await, None, "an answer of its own ends the row");
    assert_eq!(web(gateway(), &[503, 502, 404, 504, 503]).await, None, "and so does a success");
    let apart = || off().consecutive_failures(3).local_failures(2);
    assert_eq!(web(apart(), &[500, 0, 500]).await, None, "they are two kinds");
    assert_eq!(web(apart(), &[0, 500, 0]).await, None, "and an answer of any kind ends the other's row");
    assert_eq!(web(apart(), &[500, 0, 0]).await, Some(Reason::LocalFailures));
    assert_eq!(web(apart(), &[500, 500, 503]).await, Some(Reason::Failures));
    assert_eq!(web(off().consecutive_failures(3), &[500, 0, 429]).await, Some(Reason::Failures), "together");
    // By rate: what breaks on this side is compared for itself.
    let rate = SuccessRate::default().request_volume(10);
    let apart = || off().local_failures(0).success_rate(rate);
    let half = |bad: u16| [200, bad].repeat(10);
    assert_eq!(web(apart(), &half(0)).await, Some(Reason::LocalSuccessRate));
    assert_eq!(web(apart(), &half(500)).await, Some(Reason::SuccessRate));
    assert_eq!(web(off().success_rate(rate), &half(0)).await, Some(Reason::SuccessRate));
    assert_eq!(web(apart(), &half(404)).await, None);
    // By their share as well, once that is enforced.
    let percentage = FailurePercentage::default().threshold(40.0).request_volume(10);
    let apart = || off().local_failures(0).failure_percentage(percentage);
    assert_eq!(web(apart(), &half(0)).await, None);
    let enforced = || apart().enforcing(Reason::LocalFailurePercentage, 100);
    assert_eq!(web(enforced(), &half(0)).await, Some(Reason::LocalFailurePercentage));
    assert_eq!(web(enforced(), &half(500)).await, Some(Reason::FailurePercentage));
    assert_eq!(web(off().failure_percentage(percentage), &half(0)).await, Some(Reason::FailurePercentage));
}

/// HAProxy's `observe_error_limit`: two answers of 500 in a row, where a 404 is no error; and one connection that fails.
#[tokio::test(start_paused = true)]
async fn as_many_errors_as_haproxy_observes_are_enough() {
    let off = || Ejection::off().interval(ms(1_000)).base(Duration::from_secs(60));
    let answers = || off().consecutive_failures(2);
    assert_eq!(web(answers(), &[404, 500]).await, None);
    assert_eq!(web(answers(), &[500, 404, 500]).await, None);
    assert_eq!(web(answers(), &[404, 500, 500]).await, Some(Reason::Failures));
    let connections = || off().local_failures(1);
    assert_eq!(web(connections(), &[500]).await, None);
    assert_eq!(web(connections(), &[BREAKS]).await, Some(Reason::LocalFailures));
}

/// Envoy's BasicFlowGatewayFailure: failures of any kind are noticed at the fifth, those of gateways ejected for at the seventh.
#[tokio::test(start_paused = true)]
async fn a_row_that_is_not_enforced_leaves_the_others_as_they_are() {
    let envoy = || {
        let ejection =
            Ejection::envoy().gateway_failures(5).enforcing(Reason::Failures, 0).success_rate(None);
        ejection.failure_percentage(None).base(Duration::from_secs(60))
    };
    let flow = [503, 500, 503, 503, 503, 503, 503];
    assert_eq!(web(envoy(), &flow[..6]).await, None);
    assert_eq!(web(envoy(), &flow).await, Some(Reason::GatewayFailures));
    assert_eq!(web(envoy(), &[503; 5]).await, Some(Reason::GatewayFailures), "both at once");
    assert_eq!(web(envoy(), &[500; 20]).await, None);
    // Nor does a detector that compares: most requests of the interval failed, which is not enforced.
    let both = || {
        let percentage = FailurePercentage::default().request_volume(1);
        let ejection = Ejection::off().consecutive_failures(5).failure_percentage(percentage);
        ejection.enforcing(Reason::FailurePercentage, 0).interval(ms(1_000)).base(Duration::from_secs(60))
    };
    let (fakes, _hand, balance) = fleet(5, 1, both()).await;
    send(&balance, 5 * 4).await;
    sleep(ms(1_000)).await;
    assert_eq!(found(&balance, Reason::FailurePercentage), (0, 1));
    send(&balance, 5).await;
    settle().await;
    assert_eq!(balance.endpoints()[0].ejected, Some(Reason::Failures), "{fakes:?}");
}

#[tokio::test(start_paused = true)]
async fn those_ejected_together_do_not_come_back_together() {
    let ejection = Ejection::off()
        .consecutive_failures(1)
        .base(Duration::from_secs(2))
        .jitter(Duration::from_secs(1))
        .max_percent(100)
        .panic_percent(0);
    let (_fakes, _hand, balance) = fleet(10, 9, ejection).await;
    let began = Instant::now();
    send(&balance, 10).await;
    settle().await;
    assert_eq!(ejected(&balance), 9);
    let mut back = Vec::new();
    while back.len() < 9 {
        sleep(ms(5)).await;
        let half_open = |view: &View| view.state == State::HalfOpen;
        let now = balance.endpoints().iter().filter(|view| half_open(view)).count();
        back.resize(now, began.elapsed());
    }
    assert!(back.iter().all(|time| (ms(2_000)..=ms(3_020)).contains(time)), "{back:?}");
    assert!(back[8] - back[0] > ms(500), "{back:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_enforced_is_counted_and_ejects_nobody() {
    let ejection = Ejection::default().consecutive_failures(5).enforcing(Reason::Failures, 0);
    let (_fakes, _hand, balance) = fleet(2, 1, ejection).await;
    send(&balance, 2 * 20).await;
    settle().await;
    assert_eq!(ejected(&balance), 0);
    assert_eq!(found(&balance, Reason::Failures).0, 0);
    assert!(found(&balance, Reason::Failures).1 >= 1);
}

/// In how many intervals the first of five is ejected, which takes thrice as long as the others, picked by `policy`.
async fn intervals_until_the_slow_one_is_out(policy: impl Policy) -> usize {
    let (hand, changes) = support::discovery();
    let fakes: Vec<_> = NAMES[..5].iter().map(|name| Fake::new(name, Mood::Answers(ms(10)))).collect();
    NAMES.iter().zip(&fakes).for_each(|(name, fake)| hand.insert(name, fake));
    fakes[0].set(Mood::Answers(ms(31)));
    let rule = Latency::default().request_volume(1);
    let ejection =
        Ejection::off().latency(rule).interval(Duration::from_secs(1)).base(Duration::from_secs(9));
    let balance = Balance::builder(changes).policy(policy).ejection(ejection).seed(9).build();
    let mut intervals = 0;
    // So many at once that everybody is needed.
    while ejected(&balance) == 0 && intervals < 20 {
        intervals += 1;
        let ends = Instant::now() + Duration::from_secs(1);
        while Instant::now() < ends {
            futures_util::future::join_all((0..40).map(|_| balance.clone().oneshot(()))).await;
        }
    }
    assert_eq!(balance.endpoints()[0].ejected, Some(Reason::Latency));
    intervals
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_three_times_slower_than_the_median_is_ejected_after_three_intervals() {
    let intervals = intervals_until_the_slow_one_is_out(PeakEwma::new()).await;
    assert!((3..=5).contains(&intervals), "{intervals}");
}

#[tokio::test(start_paused = true)]
async fn latencies_are_compared_under_a_policy_that_has_no_use_for_them() {
    for intervals in [
        intervals_until_the_slow_one_is_out(RoundRobin::new()).await,
        intervals_until_the_slow_one_is_out(LeastRequest).await,
    ] {
        assert!((3..=5).contains(&intervals), "{intervals}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_back_is_slow_for_as_many_intervals_before_it_is_out_again() {
    let rule = Latency::default().request_volume(1).intervals(2);
    let ejection = Ejection::off().latency(rule).interval(ms(1_000)).base(ms(300)).max(ms(300));
    let (fakes, _hand, balance) = fleet(5, 0, ejection).await;
    for (place, fake) in fakes.iter().enumerate() {
        fake.set(Mood::Answers(ms(if place == 0 { 50 } else { 10 })));
    }
    let until = async |state: State| {
        let began = Instant::now();
        while balance.endpoints()[0].state != state {
            futures_util::future::join_all((0..10).map(|_| balance.clone().oneshot(()))).await;
        }
        began.elapsed().as_millis()
    };
    let out = until(State::Ejected).await;
    assert!((1_900..2_200).contains(&out), "{out} ms");
    until(State::Ready).await;
    let again = until(State::Ejected).await;
    assert!((1_000..2_000).contains(&again), "{again} ms");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_half_open_is_out_as_far_as_the_cap_goes() {
    let ejection = Ejection::off().consecutive_failures(1).base(ms(1_000)).max(ms(1_000)).max_percent(34);
    let (fakes, _hand, balance) = fleet(3, 1, ejection).await;
    send(&balance, 3).await;
    fakes[0].set(Mood::Silent);
    sleep(ms(1_010)).await;
    let trying = tokio::spawn(balance.clone().oneshot(()));
    settle().await;
    fakes[1].set(FAILS);
    send(&balance, 2).await;
    settle().await;
    assert_eq!([0, 1].map(|place: usize| balance.endpoints()[place].state), [State::HalfOpen, State::Ready]);
    assert_eq!(found(&balance, Reason::Failures), (1, 1));
    trying.abort();
}

#[tokio::test(start_paused = true)]
async fn one_that_is_out_is_not_compared_with_the_others() {
    let rate = SuccessRate::default().factor(1.0).request_volume(10);
    let ejection = Ejection::off().consecutive_failures(5).success_rate(rate);
    let ejection = ejection.base(Duration::from_secs(60)).max_percent(100).panic_percent(0);
    let (fakes, _hand, balance) = fleet(5, 0, ejection).await;
    for round in 0..20 {
        fakes[1].set(if round % 4 == 3 { FAST } else { FAILS });
        send(&balance, 5).await;
    }
    fakes[1].set(FAST);
    fakes[0].set(FAILS);
    send(&balance, 5 * 5).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!([0, 1].map(|place: usize| balance.endpoints()[place].state), [State::Ejected, State::Ready]);
}

#[tokio::test(start_paused = true)]
async fn what_an_endpoint_did_before_it_was_out_is_no_reason_to_eject_it_again() {
    let ejection = Ejection::off().consecutive_failures(5).failure_percentage(percentage());
    let (fakes, _hand, balance) = fleet(5, 1, ejection.base(ms(1_000)).max(ms(1_000))).await;
    send(&balance, 5 * 5).await;
    fakes[0].set(FAST);
    sleep(ms(1_010)).await;
    assert_eq!(balance.endpoints()[0].state, State::HalfOpen);
    send(&balance, 5 * 3).await;
    sleep(Duration::from_secs(9)).await;
    assert_eq!((balance.endpoints()[0].state, ejected(&balance)), (State::Ready, 0));
    assert_eq!(found(&balance, Reason::FailurePercentage), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_fast_failing_endpoint_fails_under_a_thousandth_of_all_requests_after_a_second() {
    let (fakes, _hand, balance) = fleet(10, 0, Ejection::default()).await;
    fakes[0].set(Mood::Fails(ms(1)));
    sleep(ms(100)).await;
    send(&balance, 1_000).await;
    let (mut failed, began) = (0, Instant::now());
    for _ in 0..20_000 {
        failed += usize::from(balance.clone().oneshot(()).await.is_err());
        sleep(ms(2)).await;
    }
    assert!(failed < 20, "{failed} of 20000 in {:?}", began.elapsed());
}

/// What happens to a fleet, one step after another.
#[derive(Clone, Debug)]
enum Step {
    Break(usize),
    Mend(usize),
    Send(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..20_usize).prop_map(Step::Break),
        (0..20_usize).prop_map(Step::Mend),
        (1..200_usize).prop_map(Step::Send),
        (1..15_000_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn never_more_than_the_cap_are_ejected(
        steps in steps(), count in 1..20_usize, percent in 0..=100_u32, in_a_row in 1..6_u32,
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let ejection = Ejection::default()
                .consecutive_failures(in_a_row)
                .failure_percentage(percentage())
                .max_percent(percent)
                .jitter(ms(500));
            let (fakes, _hand, balance) = fleet(count, 0, ejection).await;
            let most = (count * percent as usize / 100).max(usize::from(count >= 2 && percent > 0));
            for step in steps {
                match step {
                    Step::Break(place) => fakes[place % count].set(FAILS),
                    Step::Mend(place) => fakes[place % count].set(FAST),
                    Step::Send(requests) => send(&balance, requests).await,
                    Step::Wait(time) => sleep(ms(time)).await,
                }
                settle().await;
                assert!(ejected(&balance) <= most, "{} of {count}, {percent} %", ejected(&balance));
            }
            let in_flight: u64 = balance.endpoints().iter().map(|view| view.in_flight).sum();
            assert_eq!(in_flight, 0);
        });
    }
}

/// A web server that hears no request to its end.
#[derive(Clone)]
struct Cut;

impl Service<Request<()>> for Cut {
    type Response = Response<String>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Err(BrokenBody::new("connection reset").into()))
    }
}

#[tokio::test(start_paused = true)]
async fn what_callers_break_off_is_held_against_no_endpoint() {
    let balance = Balance::builder(ServiceList::new::<Request<()>>([Cut])).protocol(Http).build();
    for _ in 0..50 {
        balance.clone().oneshot(Request::new(())).await.unwrap_err();
    }
    settle().await;
    let view = &balance.endpoints()[0];
    assert_eq!((view.state, view.failures), (State::Ready, 0));
}
