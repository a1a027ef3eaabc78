//! Hedging, against a service that answers by a script and against a simulated fleet.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use http::{Request, Response};
use micro_balance::{
    NotSent, Repeatable, Tried,
    hedge::{Hedge, HedgeLayer},
    limit::LimitLayer,
    retry::{Budget, ReplayBody, When},
};
use scripted::*;
use tokio::time::{Instant, advance, sleep};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{BoxError, ServiceExt};
use tower_layer::Layer;
use tower_service::Service;

const MS: Duration = Duration::from_millis(1);

fn layer() -> HedgeLayer {
    HedgeLayer::after(20 * MS).budget(Budget::endless())
}

fn start(
    layer: &HedgeLayer,
    inner: &Scripted,
    request: Request<Frames>,
) -> task::Spawn<impl Future<Output = Result<Response<Frames>, BoxError>> + use<>> {
    let mut hedge = layer.layer(inner.clone());
    let mut ready = task::spawn(());
    ready.enter(|cx, _| assert_ready_ok!(Service::<Request<Frames>>::poll_ready(&mut hedge, cx)));
    task::spawn(hedge.call(request))
}

#[tokio::test(start_paused = true)]
async fn the_second_request_starts_after_the_delay_and_the_loser_is_dropped() {
    let inner = Scripted::new([Answer::Hang, status(200, &[])]);
    let mut answer = start(&layer(), &inner, get("/"));
    assert_pending!(answer.poll());
    advance(19 * MS).await;
    assert_pending!(answer.poll());
    assert_eq!(inner.attempts().len(), 1);
    advance(MS).await;
    assert!(answer.is_woken());
    assert_eq!(assert_ready_ok!(answer.poll()).status(), 200);
    assert_eq!(inner.attempts().len(), 2);
    assert_eq!(inner.open(), 0, "at once, not when the future is dropped");
    assert!(inner.attempts().iter().all(|attempt| attempt.extensions.get::<Tried>().is_some()));
}

#[tokio::test(start_paused = true)]
async fn the_first_may_still_win() {
    let inner = Scripted::new([Answer::Wait(30 * MS), Answer::Hang]);
    let began = Instant::now();
    assert!(layer().layer(inner.clone()).oneshot(get("/")).await.is_ok());
    assert_eq!((began.elapsed(), inner.attempts().len(), inner.open()), (30 * MS, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_answered_in_time_is_sent_once() {
    let inner = Scripted::new([status(200, &[])]);
    let mut answer = start(&layer(), &inner, get("/"));
    assert_ready_ok!(answer.poll());
    assert!(!answer.is_woken());
    assert_eq!(inner.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_to_five_attempts_are_under_way_for_a_request_as_is_wanted() {
    for (wanted, sent) in [(0, 1), (1, 1), (2, 2), (5, 5), (9, 5)] {
        let inner = Scripted::new((0..9).map(|_| Answer::Wait(500 * MS)));
        layer().attempts(wanted).layer(inner.clone()).oneshot(get("/")).await.unwrap();
        assert_eq!(inner.attempts().len(), sent, "{wanted} wanted");
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_may_be_carried_out_twice_is_hedged() {
    let inner = Scripted::new([Answer::Wait(100 * MS)]);
    layer().layer(inner.clone()).oneshot(call(&["x"])).await.unwrap();
    assert_eq!(inner.attempts().len(), 1);

    let inner = Scripted::new([Answer::Hang, grpc(0, &[])]);
    let mut request = call(&["one", "two"]);
    request.extensions_mut().insert(Repeatable);
    layer().layer(inner.clone()).oneshot(request).await.unwrap();
    assert_eq!(inner.attempts()[1].text(), "onetwo");
}

#[tokio::test(start_paused = true)]
async fn a_hedged_call_says_what_is_left_of_its_time_and_how_often_it_was_sent() {
    let call = |timeout: &str| {
        let mut request = call(&["x"]);
        request.extensions_mut().insert(Repeatable);
        request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
        request
    };
    let inner = Scripted::new([Answer::Hang, Answer::Hang, grpc(0, &[])]);
    layer().attempts(3).layer(inner.clone()).oneshot(call("100m")).await.unwrap();
    let attempts = inner.attempts();
    let said = |name| attempts.iter().map(|attempt| attempt.header(name)).collect::<Vec<_>>();
    assert_eq!(said("grpc-timeout"), [Some("100m"), Some("80000000n"), Some("60000000n")]);
    assert_eq!(said("grpc-previous-rpc-attempts"), [None, Some("1"), Some("2")]);
    // Nothing is sent once the time is over.
    let inner = Scripted::new([Answer::Wait(50 * MS)]);
    layer().layer(inner.clone()).oneshot(call("15m")).await.unwrap();
    assert_eq!(inner.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_waits_for_the_other_attempt() {
    for failure in [status(503, &[]), fail("reset by peer")] {
        let inner = Scripted::new([Answer::Wait(50 * MS), failure]);
        let began = Instant::now();
        assert_eq!(layer().layer(inner.clone()).oneshot(get("/")).await.unwrap().status(), 200);
        assert_eq!((began.elapsed(), inner.attempts().len()), (50 * MS, 2));
    }
    // Alone it is the answer: repeating it is another layer's work.
    let inner = Scripted::new([status(503, &[])]);
    assert_eq!(layer().layer(inner.clone()).oneshot(get("/")).await.unwrap().status(), 503);
    assert_eq!(inner.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn pushback_stops_hedges_or_puts_them_off() {
    let stop = || status(503, &[("grpc-retry-pushback-ms", "-1")]);
    let inner = Scripted::new([Answer::Wait(500 * MS), stop()]);
    layer().attempts(5).layer(inner.clone()).oneshot(get("/")).await.unwrap();
    assert_eq!(inner.attempts().len(), 2);

    // What another attempt says later does not start them again.
    let later = late(60 * MS, 503, &[("grpc-retry-pushback-ms", "10")]);
    let inner = Scripted::new([later, stop(), Answer::Hang]);
    layer().attempts(5).layer(inner.clone()).oneshot(get("/")).await.unwrap();
    assert_eq!(inner.attempts().len(), 2);

    let wait = status(503, &[("grpc-retry-pushback-ms", "300")]);
    let inner = Scripted::new([Answer::Wait(500 * MS), wait, Answer::Hang]);
    layer().attempts(3).layer(inner.clone()).oneshot(get("/")).await.unwrap();
    let attempts = inner.attempts();
    assert_eq!((attempts.len(), attempts[2].at - attempts[1].at), (3, 300 * MS));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_put_off_while_it_waits_for_the_service_is_given_back() {
    for (pushback, sent) in [("300", 3), ("-1", 2)] {
        let budget = Budget::new(1.0, 0, Duration::from_secs(10)).unwrap();
        (0..4).for_each(|_| budget.deposit());
        let failure = late(30 * MS, 503, &[("grpc-retry-pushback-ms", pushback)]);
        let inner = Scripted::new([Answer::Hang, failure, Answer::Hang]);
        let mut answer = start(&layer().attempts(3).budget(budget.clone()), &inner, get("/"));
        assert_pending!(answer.poll());
        advance(20 * MS).await;
        assert_pending!(answer.poll());
        assert_eq!((inner.attempts().len(), budget.balance()), (2, 4));
        // The third is paid for, and the service is busy.
        inner.be_busy(1);
        advance(20 * MS).await;
        assert_pending!(answer.poll());
        assert_eq!((inner.attempts().len(), budget.balance()), (2, 3));
        // The second fails.
        advance(10 * MS).await;
        assert_pending!(answer.poll());
        assert_eq!((inner.attempts().len(), budget.balance()), (2, 4));
        advance(300 * MS).await;
        assert_pending!(answer.poll());
        assert_eq!(inner.attempts().len(), sent);
        drop(answer);
        assert_eq!(budget.balance(), 6 - sent as u64);
    }
}

/// A6: "every failed RPC will decrement the token_count by 1", and a hedge is sent while more than half is left.
#[tokio::test(start_paused = true)]
async fn by_the_throttle_an_attempt_costs_a_token_if_it_fails_and_nothing_else() {
    let throttle = Budget::throttle(10, 0.5).unwrap();
    let layer = layer().attempts(3).budget(throttle.clone());
    let failures = || [late(50 * MS, 503, &[]), late(50 * MS, 503, &[]), late(50 * MS, 503, &[])];
    // Three attempts that fail are three tokens.
    let inner = Scripted::new(failures());
    assert_eq!(layer.layer(inner.clone()).oneshot(get("/")).await.unwrap().status(), 503);
    assert_eq!((inner.attempts().len(), throttle.balance()), (3, 1), "7 tokens, more than 5 to be left");
    // One that loses the race, and one that is given up, cost nothing; the one that wins earns half of one.
    let inner = Scripted::new([Answer::Hang, status(200, &[])]);
    layer.layer(inner.clone()).oneshot(get("/")).await.unwrap();
    let mut given_up = start(&layer, &Scripted::new([Answer::Hang, Answer::Hang]), get("/"));
    assert_pending!(given_up.poll());
    advance(20 * MS).await;
    assert_pending!(given_up.poll());
    drop(given_up);
    assert!(throttle.withdraw());
    assert_eq!(throttle.balance(), 1, "6.5");
    // What the caller did wrong is neither a failure nor a success.
    layer.layer(Scripted::new([grpc(3, &[])])).oneshot(get("/")).await.unwrap();
    assert!(throttle.withdraw());
    assert_eq!(throttle.balance(), 0, "5.5");
    // The second is sent with 5.5 left. The first has failed before the third could be: 4.5.
    let inner = Scripted::new([late(30 * MS, 503, &[]), Answer::Wait(100 * MS), Answer::Hang]);
    layer.layer(inner.clone()).oneshot(get("/")).await.unwrap();
    assert_eq!((inner.attempts().len(), throttle.balance()), (2, 0));
    // The first attempt is always sent, and alone while there are not enough.
    let inner = Scripted::new([Answer::Wait(100 * MS)]);
    layer.layer(inner.clone()).oneshot(get("/")).await.unwrap();
    assert_eq!(inner.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_grpc_earns_a_part_of_a_token_only_if_it_is_ok() {
    for (code, left) in [(0, 4), (1, 3), (3, 3)] {
        let throttle = Budget::throttle(10, 0.5).unwrap();
        throttle.failed();
        let inner = Scripted::new([grpc(code, &[])]);
        layer().budget(throttle.clone()).layer(inner).oneshot(get("/")).await.unwrap();
        assert_eq!(throttle.balance(), left, "9 of 10, or a half more, less 5 for {code}");
    }
}

/// A6: `nonFatalStatusCodes`.
#[tokio::test(start_paused = true)]
async fn where_failures_are_not_fatal_one_has_the_next_attempt_sent_at_once() {
    let layer = layer().attempts(3).non_fatal(When::never().code(14));
    let starts = |inner: &Scripted| {
        let attempts = inner.attempts();
        attempts.iter().map(|attempt| attempt.at - attempts[0].at).collect::<Vec<_>>()
    };
    let hello = || {
        let mut request = call(&["x"]);
        request.extensions_mut().insert(Repeatable);
        request
    };
    let code = |answer: &Response<Frames>| answer.headers()["grpc-status"].to_str().unwrap().to_owned();
    // Non-fatal ones and broken connections: all attempts, with no delay between them, and the last failure.
    let inner = Scripted::new([grpc(14, &[]), fail("reset by peer"), grpc(14, &[])]);
    let answer = layer.layer(inner.clone()).oneshot(hello()).await.unwrap();
    assert_eq!((starts(&inner), code(&answer)), (vec![Duration::ZERO; 3], "14".into()));
    // The delay runs from the attempt that was sent early.
    let inner = Scripted::new([grpc(14, &[]), Answer::Hang, grpc(0, &[])]);
    layer.layer(inner.clone()).oneshot(hello()).await.unwrap();
    assert_eq!(starts(&inner), [Duration::ZERO, Duration::ZERO, 20 * MS]);
    // A fatal one ends the race, whoever else is in it.
    let inner = Scripted::new([Answer::Hang, grpc(13, &[]), Answer::Hang]);
    let answer = layer.layer(inner.clone()).oneshot(hello()).await.unwrap();
    assert_eq!((inner.attempts().len(), inner.open(), code(&answer)), (2, 0, "13".into()));
    // Pushback comes before that: a wait is kept, and a refusal is for good.
    let inner = Scripted::new([grpc(14, &[("grpc-retry-pushback-ms", "70")]), grpc(0, &[])]);
    layer.layer(inner.clone()).oneshot(hello()).await.unwrap();
    assert_eq!(starts(&inner), [Duration::ZERO, 70 * MS]);
    let refused = || grpc(14, &[("grpc-retry-pushback-ms", "-1")]);
    let inner = Scripted::new([refused()]);
    let answer = layer.layer(inner.clone()).oneshot(hello()).await.unwrap();
    assert_eq!((inner.attempts().len(), code(&answer)), (1, "14".into()));
    let inner = Scripted::new([late(30 * MS, 503, &[]), refused(), Answer::Hang]);
    layer.layer(inner.clone()).oneshot(hello()).await.unwrap();
    assert_eq!(inner.attempts().len(), 2, "the failure after the refusal starts nothing");
    // Nobody pays for more: the failure is the answer.
    let poor = layer.budget(Budget::new(0.0, 0, Duration::from_secs(10)).unwrap());
    let inner = Scripted::new([grpc(14, &[])]);
    assert_eq!(code(&poor.layer(inner.clone()).oneshot(hello()).await.unwrap()), "14");
    // Nor is a call hedged that must not be repeated.
    let inner = Scripted::new([grpc(14, &[])]);
    poor.budget(Budget::endless()).layer(inner.clone()).oneshot(call(&["x"])).await.unwrap();
    assert_eq!(inner.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_no_server_has_looked_at_does_not_end_the_race() {
    let turned_away = || LimitLayer::new(0).layer(Scripted::default()).oneshot(get("/"));
    let overloaded = turned_away().await.unwrap_err();
    for (error, attempts) in [
        (BoxError::from(NotSent::new("connection refused")), 3),
        (NotSent::refused("REFUSED_STREAM").into(), 3),
        (overloaded, 2),
    ] {
        let inner = Scripted::new([Answer::Wait(30 * MS), fail(error), Answer::Hang]);
        let hedge = layer().attempts(3).non_fatal(When::default()).layer(inner.clone());
        let began = Instant::now();
        hedge.oneshot(get("/")).await.unwrap();
        assert_eq!((began.elapsed(), inner.attempts().len(), inner.open()), (30 * MS, attempts, 0));
    }
    // With nobody else in the race it is the answer.
    let inner = Scripted::new([fail(turned_away().await.unwrap_err())]);
    let hedge = layer().non_fatal(When::default()).layer(inner.clone());
    assert!(hedge.oneshot(get("/")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn without_a_delay_all_attempts_start_at_once() {
    let inner = Scripted::new([Answer::Hang, Answer::Hang, Answer::Wait(5 * MS)]);
    let layer = HedgeLayer::after(Duration::ZERO).attempts(3).budget(Budget::endless());
    // A timer goes off at whole milliseconds.
    advance(MS / 2).await;
    let mut answer = start(&layer, &inner, get("/"));
    assert_pending!(answer.poll());
    assert_eq!(inner.attempts().len(), 3);
    answer.await.unwrap();
}

/// Polly's `InfiniteHedgingDelay_EnsureNoConcurrentExecutions`: it has all attempts made, and no two of them at once.
#[tokio::test(start_paused = true)]
async fn where_the_delay_never_ends_attempts_come_one_after_another() {
    let layer = HedgeLayer::after(Duration::MAX).attempts(5).budget(Budget::endless());
    let inner = Scripted::new((0..5).map(|_| late(30 * MS, 503, &[])));
    let answer = layer.clone().non_fatal(When::default()).layer(inner.clone()).oneshot(get("/")).await;
    let attempts = inner.attempts();
    let starts: Vec<_> = attempts.iter().map(|attempt| attempt.at - attempts[0].at).collect();
    assert_eq!(starts, [0, 30, 60, 90, 120].map(|ms| ms * MS));
    assert_eq!(answer.unwrap().status(), 503, "the last failure");
    // Where a failure has none sent at once, there is but the one.
    let inner = Scripted::new([late(30 * MS, 503, &[])]);
    assert_eq!(layer.layer(inner.clone()).oneshot(get("/")).await.unwrap().status(), 503);
    assert_eq!(inner.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_amid_others_has_no_attempt_sent_sooner() {
    let inner = Scripted::new([late(25 * MS, 503, &[]), Answer::Hang, Answer::Wait(10 * MS)]);
    layer().attempts(3).layer(inner.clone()).oneshot(get("/")).await.unwrap();
    let attempts = inner.attempts();
    let starts: Vec<_> = attempts.iter().map(|attempt| attempt.at - attempts[0].at).collect();
    assert_eq!(starts, [Duration::ZERO, 20 * MS, 40 * MS]);
}

#[tokio::test(start_paused = true)]
async fn attempts_start_one_delay_apart_up_to_their_number() {
    let inner = Scripted::new([Answer::Hang, Answer::Hang, Answer::Wait(100 * MS)]);
    layer().attempts(3).layer(inner.clone()).oneshot(get("/")).await.unwrap();
    let attempts = inner.attempts();
    let starts: Vec<_> = attempts.iter().map(|attempt| attempt.at - attempts[0].at).collect();
    assert_eq!(starts, [Duration::ZERO, 20 * MS, 40 * MS]);
    assert_eq!(inner.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_budget_ends_the_hedges_and_is_exact_wherever_the_future_is_dropped() {
    let budget = Budget::new(1.0, 0, Duration::from_secs(10)).unwrap();
    let layer = layer().budget(budget.clone());
    let inner = Scripted::new((0..5).map(|_| Answer::Hang));
    // Before the delay.
    let mut early = start(&layer, &inner, get("/"));
    assert_pending!(early.poll());
    drop(early);
    assert_eq!((inner.open(), budget.balance()), (0, 1));
    // While the service is busy: paid and given back.
    let mut busy = start(&layer, &inner, get("/"));
    assert_pending!(busy.poll());
    advance(20 * MS).await;
    inner.be_busy(1);
    assert_pending!(busy.poll());
    assert_eq!(budget.balance(), 1);
    drop(busy);
    assert_eq!((inner.open(), budget.balance()), (0, 2));
    // With both under way: spent.
    let mut both = start(&layer, &inner, get("/"));
    assert_pending!(both.poll());
    advance(20 * MS).await;
    assert_pending!(both.poll());
    assert_eq!(inner.open(), 2);
    drop(both);
    assert_eq!((inner.open(), budget.balance()), (0, 2));
    // Spent: no hedge.
    while budget.withdraw() {}
    let broke = HedgeLayer::after(MS).budget(Budget::new(0.0, 0, Duration::from_secs(10)).unwrap());
    let mut poor = start(&broke, &inner, get("/"));
    assert_pending!(poor.poll());
    advance(50 * MS).await;
    assert_pending!(poor.poll());
    assert_eq!(inner.open(), 1);
}

/// One request in a hundred takes a second, the others 10 ms.
#[derive(Clone, Default)]
struct Fleet {
    requests: Arc<AtomicU32>,
    all_slow: bool,
}

impl Service<Request<ReplayBody<Frames>>> for Fleet {
    type Response = Response<Frames>;
    type Error = BoxError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Frames>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<ReplayBody<Frames>>) -> Self::Future {
        // A fixed order as irregular as chance, the same in every run.
        let n = u64::from(self.requests.fetch_add(1, Relaxed));
        let slow = self.all_slow || (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 100 == 0;
        Box::pin(async move {
            sleep(if slow { 1000 * MS } else { 10 * MS }).await;
            Ok(Response::new(Frames::default()))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_percentile_cuts_the_tail_for_its_part_of_load() {
    let fleet = Fleet::default();
    let hedge = HedgeLayer::percentile(0.95).unwrap().layer(fleet.clone());
    let mut latencies = Vec::new();
    for n in 0..10_000 {
        let began = Instant::now();
        hedge.clone().oneshot(get("/")).await.unwrap();
        if n >= 1000 {
            latencies.push(began.elapsed());
        }
    }
    latencies.sort();
    let p999 = latencies[latencies.len() * 999 / 1000];
    assert!(p999 < 40 * MS, "{p999:?}");
    let extra = f64::from(fleet.requests.load(Relaxed)) / 10_000.0 - 1.0;
    assert!(extra < 0.06, "{extra}");
}

/// Finagle's `BackupRequestFilterTest`: ninety answers of 50 ms and ten of 100 ms are 50 ms for nine in ten and 100 ms for 99 in
/// a hundred, what fails fast is no latency, and what was waited for in vain is one. We measure to an eighth.
#[tokio::test(start_paused = true)]
async fn what_fails_fast_is_no_latency_and_what_is_waited_for_in_vain_is_one() {
    for (part, ms) in [(0.9, 50), (0.99, 100)] {
        let inner = Scripted::default();
        let hedge = HedgeLayer::percentile(part).unwrap().budget(Budget::endless()).layer(inner.clone());
        let ask = |patience: Duration, answers: Vec<Answer>| {
            answers.into_iter().for_each(|answer| inner.push(answer));
            tokio::time::timeout(patience, hedge.clone().oneshot(get("/")))
        };
        let second = 1000 * MS;
        // When the second attempt is sent is as long as that, or an eighth more.
        let is_hedged_after = async |ms: u64| {
            sleep(second).await;
            ask(second, vec![Answer::Hang, status(200, &[])]).await.unwrap().unwrap();
            let attempts = inner.attempts();
            let [.., first, hedge] = &attempts[..] else { panic!("{attempts:?}") };
            let delay = (hedge.at - first.at).as_millis() as u64;
            assert!((ms..=ms * 5 / 4).contains(&delay), "{delay} ms and not {ms}, of {part}");
        };
        let time = |n| Answer::Wait(if n < 90 { 50 * MS } else { 100 * MS });
        join_all((0..100).map(|n| ask(second, vec![time(n)]))).await;
        is_hedged_after(ms).await;
        for answer in join_all((0..1000).map(|_| ask(second, vec![late(MS, 503, &[])]))).await {
            assert_eq!(answer.unwrap().unwrap().status(), 503);
        }
        is_hedged_after(ms).await;
        (0..1000).for_each(|_| inner.push(Answer::Hang));
        let given_up = join_all((0..1000).map(|_| ask(300 * MS, vec![Answer::Hang]))).await;
        assert!(given_up.iter().all(Result::is_err));
        is_hedged_after(300).await;
    }
}

#[tokio::test(start_paused = true)]
async fn hedges_stay_in_the_budget_when_everything_is_slow() {
    let fleet = Fleet { all_slow: true, ..Fleet::default() };
    let hedge = HedgeLayer::after(10 * MS).layer(fleet.clone());
    let done = Cell::new(0);
    for _ in 0..20 {
        let batch = (0..50).map(|_| hedge.clone().oneshot(get("/")));
        for answer in join_all(batch).await {
            answer.unwrap();
            done.set(done.get() + 1);
        }
    }
    let extra = fleet.requests.load(Relaxed) - done.get();
    assert!(extra <= 50, "{extra} hedges for 1000 requests");
}

#[tokio::test(start_paused = true)]
async fn hedges_by_a_percentile_are_never_more_than_what_is_above_it() {
    for (part, most) in [(0.95, 50), (0.8, 200)] {
        let (inner, layer) = (Scripted::default(), HedgeLayer::percentile(part).unwrap());
        let hedge = layer.layer(inner.clone());
        for _ in 0..1_000 {
            inner.push(Answer::Wait(MS));
            hedge.clone().oneshot(get("/")).await.unwrap();
        }
        // All of a sudden everything is slow.
        (0..2_000).for_each(|_| inner.push(Answer::Wait(200 * MS)));
        for _ in 0..1_000 {
            hedge.clone().oneshot(get("/")).await.unwrap();
        }
        let hedges = inner.attempts().len() - 2_000;
        assert!(hedges > 0 && hedges <= 2 * most, "{hedges} by {part}");
    }
}

#[test]
fn what_handles_requests_is_shared_between_threads() {
    fn check<T: Clone + Send + Sync + 'static>() {}
    check::<HedgeLayer>();
    check::<Hedge<Scripted>>();
    fn sends<T: Send>(_: T) {}
    let hedge = layer().layer(Scripted::default());
    sends(async move { hedge.oneshot(call(&[])).await });
    assert!(HedgeLayer::percentile(1.0).is_err() && HedgeLayer::percentile(f64::NAN).is_err());
}
