//! What a caller can count on, whatever becomes of the endpoints. Time is paused throughout.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use micro_balance::{
    Balance, BalanceLayer, Ejection, NoEndpoints, NotReady, NotSent, Reconnect, State,
    policy::{LeastRequest, PeakEwma, Random, RoundRobin},
};
use support::{FAST, Fake, Mood, count, discovery, fakes, settle};
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, Layer, Service, ServiceExt, discover::ServiceList};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn cause<E: std::error::Error + 'static>(error: &BoxError) -> Option<&E> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_before_discovery_waits_for_it() {
    let (hand, changes) = discovery();
    let balance = Balance::new(changes);
    let answer = tokio::spawn(balance.oneshot("request"));
    sleep(ms(500)).await;
    hand.insert("a", &Fake::new("a", FAST));
    assert_eq!(answer.await.unwrap().unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_refused_endpoint_beside_a_live_one_costs_nothing() {
    for dead in [Mood::Refuses, Mood::Connecting] {
        let ([_live, refused], _hand, changes) = fakes(["live", "refused"], FAST);
        refused.set(dead);
        let balance = Balance::new(changes);
        for _ in 0..2_000 {
            assert_eq!(balance.clone().oneshot(()).await.unwrap(), "live");
        }
        assert_eq!(refused.calls(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_refuses_is_asked_about_once_a_second_at_most() {
    let ([_live, refused], _hand, changes) = fakes(["live", "refused"], FAST);
    refused.set(Mood::Refuses);
    let _balance: Balance<_, ()> = Balance::new(changes);
    sleep(Duration::from_secs(60)).await;
    assert!((25..=61).contains(&refused.asked()), "asked {} times in a minute", refused.asked());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_back_takes_requests_within_three_seconds() {
    let ([a, b], _hand, changes) = fakes(["a", "b"], FAST);
    b.set(Mood::Refuses);
    let balance = Balance::builder(changes).policy(RoundRobin::new()).build();
    sleep(Duration::from_secs(100)).await;
    b.set(FAST);
    sleep(Duration::from_secs(3)).await;
    for _ in 0..10 {
        balance.clone().oneshot(()).await.unwrap();
    }
    assert_eq!((a.calls(), b.calls()), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn discovery_that_never_answers_is_waited_for_until_the_failfast_limit() {
    let (_hand, changes) = discovery();
    let balance: Balance<Fake, ()> = Balance::builder(changes).service_name("greeter").build();
    for waits in [Duration::from_secs(3), Duration::ZERO] {
        let began = Instant::now();
        let error = balance.clone().oneshot(()).await.unwrap_err();
        let text = cause::<NoEndpoints>(&error).unwrap().to_string();
        assert_eq!(text, "service \"greeter\": no endpoint is known: discovery has said nothing within 3s");
        assert!(NotSent::is(error.as_ref()) && began.elapsed() - waits < ms(10), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_set_fails_at_once_by_its_own_error() {
    let (hand, changes) = discovery();
    let balance = Balance::builder(changes).service_name("greeter").build();
    hand.insert("a", &Fake::new("a", FAST));
    balance.clone().oneshot(()).await.unwrap();
    hand.remove("a");
    settle().await;
    let began = Instant::now();
    let error = balance.oneshot(()).await.unwrap_err();
    assert!(cause::<NoEndpoints>(&error).is_some() && NotSent::is(error.as_ref()));
    assert!(cause::<NoEndpoints>(&error).unwrap().to_string().contains("service \"greeter\""));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_removal_of_nothing_says_that_the_set_is_known_to_be_empty() {
    let (hand, changes) = discovery();
    let balance = Balance::new(changes);
    hand.remove("");
    let began = Instant::now();
    let error = balance.oneshot(()).await.unwrap_err();
    assert!(cause::<NoEndpoints>(&error).is_some());
    assert!(began.elapsed() < ms(10));
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_the_failfast_limit_and_then_fail_at_once_until_somebody_is_ready() {
    let ([only], _hand, changes) = fakes(["only"], Mood::Refuses);
    let balance = Balance::new(changes);
    let began = Instant::now();
    let error = balance.clone().oneshot(()).await.unwrap_err();
    assert!((2_990..3_050).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    let text = cause::<NotReady>(&error).unwrap().to_string();
    assert!(text.contains("1 known") && text.contains("only refused the connection"), "{text}");

    let began = Instant::now();
    balance.clone().oneshot(()).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::ZERO);

    only.set(FAST);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(balance.oneshot(()).await.unwrap(), "only");
}

#[tokio::test(start_paused = true)]
async fn without_a_failfast_limit_requests_fail_once_every_endpoint_has() {
    let ([slow, dead], _hand, changes) = fakes(["slow", "dead"], Mood::Connecting);
    let balance = Balance::builder(changes).failfast(Duration::ZERO).build();
    let request = tokio::spawn(balance.clone().oneshot(()));
    dead.set(Mood::Refuses);
    sleep(ms(500)).await;
    assert!(!request.is_finished(), "one is still being connected to");
    slow.set(Mood::Refuses);
    let error = request.await.unwrap().unwrap_err();
    let text = cause::<NotReady>(&error).unwrap().to_string();
    assert!(text.starts_with("none of 2 known endpoints became ready; the last attempt: "), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_outage_shorter_than_the_failfast_limit_fails_nothing() {
    let ([only], _hand, changes) = fakes(["only"], FAST);
    let balance = Balance::new(changes);
    balance.clone().oneshot(()).await.unwrap();
    only.set(Mood::Connecting);
    let requests: Vec<_> = (0..100).map(|_| tokio::spawn(balance.clone().oneshot(()))).collect();
    sleep(ms(2_500)).await;
    only.set(FAST);
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap(), "only");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_announced_is_waited_for_though_the_others_have_been_down_for_long() {
    let ([a], hand, changes) = fakes(["a"], Mood::Refuses);
    let balance: Balance<_, ()> = Balance::builder(changes).build();
    sleep(Duration::from_secs(60)).await;
    let began = Instant::now();
    balance.clone().oneshot(()).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_millis(10) && balance.endpoints()[0].last_error.is_some());
    let b = Fake::new("b", Mood::Connecting);
    hand.insert("b", &b);
    settle().await;
    let waits = tokio::spawn(balance.clone().oneshot(()));
    sleep(Duration::from_secs(1)).await;
    b.set(FAST);
    assert_eq!(waits.await.unwrap().unwrap(), "b");
    // Nor is it said of one that is back why it was not reached.
    a.set(FAST);
    sleep(Duration::from_secs(5)).await;
    assert!(balance.endpoints().iter().all(|view| view.last_error.is_none()));
}

/// As gRPC: it is reset once an attempt has gone well.
#[tokio::test(start_paused = true)]
async fn waits_between_attempts_begin_anew_once_one_has_gone_well() {
    let ([a, _b], _hand, changes) = fakes(["a", "b"], FAST);
    let waits = Reconnect::new(Duration::from_secs(1), Duration::from_secs(600));
    let balance = Balance::builder(changes).policy(RoundRobin::new()).reconnect(waits).build();
    settle().await;
    let lose = async || {
        a.set(Mood::Refuses);
        for _ in 0..2 {
            assert_eq!(balance.clone().oneshot(()).await.unwrap(), "b");
        }
        settle().await;
    };
    let attempts = async |seconds| {
        let before = a.asked();
        sleep(Duration::from_secs(seconds)).await;
        a.asked() - before
    };
    for _ in 0..3 {
        lose().await;
        assert!(attempts(1).await >= 1, "the first wait is a second at most");
        assert!(attempts(60).await <= 8, "and each is longer than the one before");
        a.set(FAST);
        sleep(Duration::from_secs(60)).await;
        let views = balance.endpoints();
        assert!(views.iter().all(|view| view.state == State::Ready && view.last_error.is_none()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_handed_back_is_sent_elsewhere() {
    let ([leaving, _other], _hand, changes) = fakes(["leaving", "other"], FAST);
    let balance = Balance::builder(changes).policy(RoundRobin::new()).ejection(Ejection::off()).build();
    balance.clone().oneshot("warm up").await.unwrap();
    leaving.set(Mood::HandsBack);
    for _ in 0..100 {
        assert_eq!(balance.clone().oneshot("request").await.unwrap(), "other");
    }
    assert!(leaving.calls() >= 49);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_everybody_hands_back_is_not_sent() {
    let ([a, b], _hand, changes) = fakes(["a", "b"], Mood::HandsBack);
    let balance = Balance::builder(changes).ejection(Ejection::off()).build();
    for requests in 1..=3 {
        let error = balance.clone().oneshot(()).await.unwrap_err();
        assert!(NotSent::is(error.as_ref()));
        assert_eq!(a.calls() + b.calls(), requests * 9, "it comes back eight times, and then to its caller");
    }
    let views = balance.endpoints();
    assert_eq!(views.iter().map(|view| view.in_flight).sum::<u64>(), 0);
    assert_eq!(views.iter().map(|view| view.failures).sum::<u64>(), 3, "of the last that had it");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_lost_between_pick_and_call_loses_no_request() {
    let ([a, b], _hand, changes) = fakes(["a", "b"], FAST);
    let balance = Balance::builder(changes).policy(RoundRobin::new()).build();
    balance.clone().oneshot(()).await.unwrap();
    a.set(Mood::Connecting);
    for _ in 0..50 {
        assert_eq!(balance.clone().oneshot(()).await.unwrap(), "b");
    }
    b.set(Mood::Refuses);
    let waiting = tokio::spawn(balance.oneshot(()));
    sleep(ms(100)).await;
    a.set(FAST);
    assert_eq!(waiting.await.unwrap().unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_finish_on_an_endpoint_that_was_removed() {
    let ([a], hand, changes) = fakes(["a"], Mood::Answers(ms(500)));
    let balance = Balance::new(changes);
    let requests: Vec<_> = (0..100).map(|_| tokio::spawn(balance.clone().oneshot(()))).collect();
    sleep(ms(100)).await;
    hand.insert("b", &Fake::new("b", FAST));
    hand.remove("a");
    settle().await;
    assert_eq!(balance.oneshot(()).await.unwrap(), "b");
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap(), "a");
    }
    assert_eq!(a.calls(), 100);
}

/// R2 of go-micro: its round robin starts anew for every request, wherever chance says.
#[tokio::test(start_paused = true)]
async fn round_robin_is_exact_across_clones() {
    let (fakes, _hand, changes) = fakes(["a", "b", "c", "d"], FAST);
    let balance = Balance::builder(changes).policy(RoundRobin::new()).build();
    balance.clone().oneshot(()).await.unwrap();
    settle().await;
    fakes.iter().for_each(|fake| {
        fake.take_calls();
    });
    join_all((0..400).map(|_| balance.clone().oneshot(()))).await;
    assert_eq!(fakes.map(|fake| fake.calls()), [100; 4]);
}

#[test]
fn round_robin_is_exact_across_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (fakes, _hand, changes) = fakes(["a", "b", "c", "d"], FAST);
        let balance = Balance::builder(changes).policy(RoundRobin::new()).build();
        while balance.endpoints().iter().filter(|view| view.state == State::Ready).count() < 4 {
            tokio::task::yield_now().await;
        }
        let tasks = (0..8).map(|_| {
            let balance = balance.clone();
            tokio::spawn(async move {
                for _ in 0..1_000 {
                    balance.clone().oneshot(()).await.unwrap();
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(fakes.map(|fake| fake.calls()), [2_000; 4]);
    });
}

#[tokio::test(start_paused = true)]
async fn one_seed_makes_the_same_picks() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (_fakes, _hand, changes) = fakes(["a", "b", "c", "d", "e"], FAST);
        let balance = Balance::builder(changes).policy(Random).seed(11).build();
        balance.clone().oneshot(()).await.unwrap();
        settle().await;
        let mut answers = Vec::new();
        for _ in 0..50 {
            answers.push(balance.clone().oneshot(()).await.unwrap());
        }
        runs.push(answers);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test(start_paused = true)]
async fn the_less_busy_endpoint_of_two_gets_the_request() {
    let ([stuck, _free], _hand, changes) = fakes(["stuck", "free"], Mood::Answers(ms(1)));
    let balance = Balance::builder(changes).policy(LeastRequest).ejection(Ejection::off()).build();
    settle().await;
    stuck.set(Mood::Silent);
    // The second goes to whichever the first did not.
    let held: Vec<_> = (0..2).map(|_| tokio::spawn(balance.clone().oneshot(()))).collect();
    settle().await;
    assert_eq!(stuck.calls(), 1);
    for _ in 0..20 {
        assert_eq!(balance.clone().oneshot(()).await.unwrap(), "free");
    }
    drop(held);
}

/// Sends `total` requests of which `width` are under way at once, each with a limit of 500 ms.
async fn load<P: micro_balance::policy::Policy>(
    balance: &Balance<Fake, (), P>,
    width: usize,
    total: usize,
) -> Vec<Option<Result<&'static str, BoxError>>> {
    let workers = (0..width).map(|_| {
        let balance = balance.clone();
        async move {
            let mut answers = Vec::new();
            for _ in 0..total / width {
                answers.push(timeout(ms(500), balance.clone().oneshot(())).await.ok());
            }
            answers
        }
    });
    join_all(workers).await.into_iter().flatten().collect()
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_fast_gets_a_tenth_of_its_share_at_most() {
    let ([broken, _b, _c], _hand, changes) = fakes(["broken", "b", "c"], Mood::Answers(ms(20)));
    broken.set(Mood::Fails(ms(1)));
    let balance = Balance::builder(changes).seed(3).build();
    let answers = load(&balance, 16, 8_000).await;
    let failed = answers.iter().filter(|answer| matches!(answer, Some(Err(_)))).count();
    assert!(failed * 30 <= answers.len(), "{failed} of {} went to the endpoint that fails", answers.len());
}

#[tokio::test(start_paused = true)]
async fn a_slow_endpoint_gets_under_a_hundredth_and_is_back_two_seconds_after_it_recovers() {
    let ([slow, b, c], _hand, changes) = fakes(["slow", "b", "c"], Mood::Answers(ms(2)));
    let balance = Balance::builder(changes).seed(5).build();
    load(&balance, 4, 2_000).await;
    slow.set(Mood::Answers(ms(52)));
    load(&balance, 4, 400).await;
    slow.take_calls();
    let answers = load(&balance, 4, 8_000).await;
    assert!(slow.take_calls() * 100 < answers.len(), "the slow endpoint kept too much");
    assert!(slow.take_busiest() <= 4);

    slow.set(Mood::Answers(ms(2)));
    let recovered = Instant::now();
    while recovered.elapsed() < Duration::from_secs(2) {
        load(&balance, 4, 40).await;
    }
    let _ = [&slow, &b, &c].map(Fake::take_calls);
    let answers = load(&balance, 4, 1_200).await;
    assert!(slow.calls() * 5 > answers.len(), "only {} of {} two seconds after", slow.calls(), answers.len());
}

#[tokio::test(start_paused = true)]
async fn after_the_first_time_outs_a_black_hole_gets_one_request_at_a_time() {
    let ([hole, _live], _hand, changes) = fakes(["hole", "live"], Mood::Answers(ms(1)));
    hole.set(Mood::Silent);
    let balance = Balance::builder(changes).seed(1).build();
    load(&balance, 32, 3_200).await;
    hole.take_busiest();
    hole.take_calls();
    let began = Instant::now();
    let answers = load(&balance, 32, 320_000).await;
    let lost = answers.iter().filter(|answer| answer.is_none()).count();
    assert_eq!(lost, hole.take_calls());
    assert!(hole.take_busiest() <= 1, "more than one at a time");
    assert!(lost as u64 <= began.elapsed().as_secs() + 1, "{lost} time-outs in {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_eject_and_one_request_finds_out_about_recovery() {
    let ([bad, _good], _hand, changes) = fakes(["bad", "good"], FAST);
    let ejection = Ejection::default().consecutive_failures(3).base(Duration::from_secs(1));
    let balance = Balance::builder(changes).policy(RoundRobin::new()).ejection(ejection).build();
    settle().await;
    bad.set(Mood::Fails(ms(0)));
    for _ in 0..6 {
        let _ = balance.clone().oneshot(()).await;
    }
    settle().await;
    assert_eq!(bad.take_calls(), 3);
    assert_eq!(balance.endpoints()[0].state, State::Ejected);
    for _ in 0..100 {
        assert_eq!(balance.clone().oneshot(()).await.unwrap(), "good");
    }
    assert_eq!(bad.take_calls(), 0);

    // Still bad when it is tried again: out for twice as long, after a single request.
    sleep(ms(1_010)).await;
    assert_eq!(balance.endpoints()[0].state, State::HalfOpen);
    let failed = join_all((0..50).map(|_| balance.clone().oneshot(()))).await;
    assert_eq!(failed.iter().filter(|answer| answer.is_err()).count(), 1);
    settle().await;
    assert_eq!((balance.endpoints()[0].state, bad.take_calls()), (State::Ejected, 1));

    bad.set(FAST);
    sleep(ms(2_010)).await;
    balance.clone().oneshot(()).await.unwrap();
    settle().await;
    assert_eq!(balance.endpoints()[0].state, State::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_probe_out_of_band_spares_requests() {
    let ([bad, _good], _hand, changes) = fakes(["bad", "good"], FAST);
    let ejection = Ejection::default().consecutive_failures(1).base(Duration::from_secs(1));
    let balance = Balance::builder(changes)
        .policy(RoundRobin::new())
        .ejection(ejection)
        .probe(|fake: Fake| async move { ServiceExt::<()>::oneshot(fake, ()).await.map(drop) })
        .build();
    settle().await;
    bad.set(Mood::Fails(ms(0)));
    while balance.clone().oneshot(()).await.is_ok() {}
    for _ in 0..300 {
        sleep(ms(100)).await;
        assert_eq!(balance.clone().oneshot(()).await.unwrap(), "good");
    }
    bad.set(FAST);
    sleep(Duration::from_secs(11)).await;
    assert_eq!(balance.endpoints()[0].state, State::Ready);
}

#[tokio::test(start_paused = true)]
async fn the_pool_is_never_emptied_by_its_own_protection() {
    let (fakes, _hand, changes) = fakes(["a", "b", "c", "d"], FAST);
    let ejection = Ejection::default().consecutive_failures(1).max_percent(100);
    let balance = Balance::builder(changes).policy(RoundRobin::new()).ejection(ejection).build();
    settle().await;
    fakes.iter().for_each(|fake| fake.set(Mood::Fails(ms(0))));
    for _ in 0..50 {
        let error = balance.clone().oneshot(()).await.unwrap_err();
        assert!(!NotSent::is(error.as_ref()), "nobody was asked: {error}");
        settle().await;
    }
    fakes.iter().for_each(|fake| fake.set(FAST));
    balance.oneshot(()).await.unwrap();
}

/// R29 of go-micro: its blacklist says that there is nobody when everybody is on it.
#[tokio::test(start_paused = true)]
async fn the_only_endpoint_is_never_ejected() {
    let ([_only], _hand, changes) = fakes(["only"], Mood::Fails(ms(0)));
    let balance = Balance::new(changes);
    for _ in 0..100 {
        assert_eq!(balance.clone().oneshot(()).await.unwrap_err().to_string(), "only failed");
    }
    assert_eq!(balance.endpoints()[0].state, State::Ready);
}

#[tokio::test(start_paused = true)]
async fn futures_dropped_anywhere_leave_no_request_in_flight() {
    let ([a, b], _hand, changes) = fakes(["a", "b"], Mood::Answers(ms(10)));
    let balance = Balance::new(changes);
    for wait in 0..20 {
        let requests = (0..10).map(|_| balance.clone().oneshot(()));
        let _ = timeout(ms(wait), join_all(requests)).await;
        if wait == 10 {
            a.set(Mood::Connecting);
            b.set(Mood::Connecting);
        }
    }
    drop(balance.clone().oneshot(()));
    let in_flight: u64 = balance.endpoints().iter().map(|view| view.in_flight).sum();
    assert_eq!(in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_changed_in_discovery_keeps_its_figures_and_serves_until_the_new_one_is_ready() {
    let ([_old], hand, changes) = fakes(["a"], FAST);
    let balance = Balance::new(changes);
    for _ in 0..10 {
        balance.clone().oneshot(()).await.unwrap();
    }
    let new = Fake::new("a, moved", Mood::Connecting);
    hand.insert("a", &new);
    sleep(ms(100)).await;
    assert_eq!(balance.clone().oneshot(()).await.unwrap(), "a");
    new.set(FAST);
    settle().await;
    assert_eq!(balance.clone().oneshot(()).await.unwrap(), "a, moved");
    assert_eq!(balance.endpoints()[0].picks, 12);
}

#[tokio::test(start_paused = true)]
async fn an_idle_balancer_follows_discovery_within_a_tenth_of_a_second() {
    let ([_a], hand, changes) = fakes(["a"], FAST);
    let balance: Balance<_, ()> = Balance::new(changes);
    settle().await;
    hand.insert("b", &Fake::new("b", FAST));
    hand.remove("a");
    sleep(ms(100)).await;
    let known: Vec<_> =
        balance.endpoints().into_iter().map(|view| (view.id.to_string(), view.state)).collect();
    assert_eq!(known, [("b".to_owned(), State::Ready)]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_discovery_leaves_the_last_set_in_service() {
    let (_fakes, hand, changes) = fakes(["a", "b"], FAST);
    let balance = Balance::builder(changes).policy(RoundRobin::new()).build();
    settle().await;
    drop(hand);
    sleep(Duration::from_secs(3_600)).await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(balance.clone().oneshot(()).await.unwrap());
    }
    assert_eq!(count(answers), [("a", 5), ("b", 5)].into());
}

#[tokio::test(start_paused = true)]
async fn the_driver_ends_with_the_last_handle() {
    let ([a], hand, changes) = fakes(["a"], Mood::Refuses);
    let balance: Balance<_, ()> = Balance::new(changes);
    let clone = balance.clone();
    drop(balance);
    sleep(Duration::from_secs(5)).await;
    let asked = a.asked();
    assert!(asked > 1);
    drop(clone);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(a.asked(), asked);
    drop(hand);
}

#[tokio::test(start_paused = true)]
async fn towers_own_service_list_is_a_discovery() {
    let list = ServiceList::new::<()>(vec![Fake::new("a", FAST), Fake::new("b", FAST)]);
    let mut balance = BalanceLayer::new().policy(RoundRobin::new).layer(list);
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(balance.ready().await.unwrap().call(()).await.unwrap());
    }
    assert!(count(answers).values().all(|&count| count >= 4));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_only_busy_wakes_the_request_itself() {
    let (hand, changes) = tokio::sync::mpsc::unbounded_channel();
    let limited = tower::limit::ConcurrencyLimit::new(Fake::new("a", Mood::Answers(ms(10))), 2);
    hand.send(Ok::<_, std::convert::Infallible>(tower::discover::Change::Insert("a", limited))).unwrap();
    let balance = Balance::new(tokio_stream::wrappers::UnboundedReceiverStream::new(changes));
    let began = Instant::now();
    let answers = join_all((0..20).map(|_| balance.clone().oneshot(()))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!((100..200).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_pick_names_who_is_next_and_sends_nothing() {
    let (fakes, _hand, changes) = fakes(["a", "b"], FAST);
    let mut balance: Balance<_, (), _> = Balance::builder(changes).policy(RoundRobin::starting_at(0)).build();
    assert!(balance.pick(None).is_none(), "nobody is there yet");
    settle().await;
    let picked: Vec<_> =
        (0..4).map(|_| balance.pick(None).map(|(endpoint, _)| endpoint.id().to_owned()).unwrap()).collect();
    assert_eq!(count(picked.iter().map(String::as_str)), [("a", 2), ("b", 2)].into());
    assert_eq!(fakes.map(|fake| fake.calls()), [0, 0]);
    assert_eq!(balance.ready_endpoints(), 2);
}

#[test]
fn everything_that_handles_requests_can_be_cloned_and_shared() {
    fn check<T: Clone + Send + Sync + 'static>() {}
    // A request need not be anything but `Send`.
    type Request = Box<dyn std::any::Any + Send>;
    check::<Balance<Fake, Request>>();
    check::<Balance<Fake, Request, RoundRobin>>();
    check::<Balance<Fake, Request, LeastRequest>>();
    check::<BalanceLayer<Request>>();
    fn future<T: Send>() {}
    future::<micro_balance::ResponseFuture<Fake, Request, PeakEwma, micro_balance::Opaque>>();
}
