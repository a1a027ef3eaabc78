//! A service that fails is left alone, and one request at a time finds out about it. Time is paused throughout.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod scripted;

use std::time::Duration;

use futures_util::FutureExt as _;
use http::Request;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use micro_balance::{
    Balance, NotSent, Overloaded, Unsent,
    breaker::{BreakerLayer, Rate, State},
    cause,
    policy::RoundRobin,
    retry::{Backoff, Jitter, RetryLayer},
    timeout::TimeoutLayer,
};
use scripted::*;
use serde_json::Value;
use tokio::time::{advance, sleep};
use tower::{BoxError, Service, ServiceExt, discover::ServiceList, service_fn};
use tower_layer::Layer;

const SECOND: Duration = Duration::from_secs(1);

/// The first so many in a row, for ten seconds.
fn after(failures: u32) -> BreakerLayer {
    let layer = BreakerLayer::new().consecutive_failures(failures).success_rate(None);
    layer.backoff(Backoff::constant(10 * SECOND))
}

fn is_turned_away(error: &BoxError) -> bool {
    NotSent::is(error.as_ref()) && cause::<Overloaded>(error.as_ref()).is_some()
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_left_alone_until_one_request_finds_it_well() {
    let layer = after(2);
    let inner = Scripted::new([fail("broken"), fail("broken")]);
    let service = layer.layer(inner.clone());
    for left in [State::Closed, State::Open { left: 10 * SECOND }] {
        assert!(!is_turned_away(&service.clone().oneshot(get("/")).await.unwrap_err()));
        assert_eq!(layer.state(), left);
    }
    advance(9 * SECOND).await;
    let error = service.clone().oneshot(get("/turned-away")).await.unwrap_err();
    assert!(is_turned_away(&error));
    let (request, why) = Unsent::<Request<Frames>>::take(error).unwrap();
    let why = std::error::Error::source(&why).unwrap().to_string();
    assert_eq!(
        (request.uri().path(), &*why),
        ("/turned-away", "the service fails, and is left alone for 1s more")
    );

    advance(SECOND).await;
    assert_eq!(layer.state(), State::HalfOpen);
    inner.push(Answer::Wait(SECOND));
    let finds_out = tokio::spawn(service.clone().oneshot(get("/")));
    sleep(SECOND / 2).await;
    let error = service.clone().oneshot(get("/")).await.unwrap_err();
    assert!(is_turned_away(&error), "one at a time");
    assert!(finds_out.await.unwrap().is_ok());
    assert_eq!((layer.state(), inner.attempts().len()), (State::Closed, 3));
    // It begins anew.
    (0..3).for_each(|_| inner.push(fail("broken")));
    let _ = service.clone().oneshot(get("/")).await;
    assert_eq!(layer.state(), State::Closed);
}

/// `data/policies/outlier_detection.json`, `finagle_consecutive`: without what it calls `orElse`, as there is one wait here
/// whichever rule it was. Nobody revives a service by hand; a success has the same effect.
#[tokio::test(start_paused = true)]
async fn so_many_in_a_row_are_those_of_finagle() {
    let table: Value = serde_json::from_str(include_str!("data/outlier_detection.json")).unwrap();
    for row in table["finagle_consecutive"].as_array().unwrap().iter().filter(|row| row["orElse"].is_null()) {
        let layer = after(row["n"].as_u64().unwrap() as u32).backoff(Backoff::constant(5 * SECOND));
        let inner = Scripted::default();
        let service = layer.layer(inner.clone());
        let mut out = row["out"].as_array().unwrap().iter();
        for event in row["events"].as_str().unwrap().split(' ') {
            inner.push(if event == "F" { fail("broken") } else { status(200, &[]) });
            let _ = service.clone().oneshot(get("/")).await;
            let left = if event == "F" { out.next().unwrap().as_u64() } else { None };
            let state = left.map(|seconds| State::Open { left: seconds as u32 * SECOND });
            assert_eq!(layer.state(), state.unwrap_or(State::Closed), "{row}");
        }
    }
}

/// `data/breakers.json`
#[tokio::test(start_paused = true)]
async fn it_opens_and_closes_as_those_of_gobreaker_failsafe_and_resilience4j() {
    let table: Value = serde_json::from_str(include_str!("data/breakers.json")).unwrap();
    for case in table["cases"].as_array().unwrap() {
        let wait = case["wait_s"].as_u64().unwrap() as u32 * SECOND;
        let backoff = Backoff::exponential(wait, case["factor"].as_f64().unwrap(), 1_000 * SECOND).unwrap();
        let layer = after(case["failures"].as_u64().unwrap() as u32).backoff(backoff.jitter(Jitter::None));
        let inner = Scripted::default();
        let service = layer.layer(inner.clone());
        for (place, step) in case["steps"].as_str().unwrap().split(' ').enumerate() {
            let of = format!("{}, {place}: {step}", case["of"]);
            match step {
                "F" | "S" => {
                    inner.push(if step == "F" { fail("broken") } else { status(200, &[]) });
                    let went = service.clone().oneshot(get("/")).await;
                    assert!(went.is_ok_and(|_| step == "S") || step == "F", "{of}");
                }
                "X" => assert!(is_turned_away(&service.clone().oneshot(get("/")).await.unwrap_err()), "{of}"),
                "C" => assert_eq!(layer.state(), State::Closed, "{of}"),
                "O" => assert!(matches!(layer.state(), State::Open { .. }), "{of}: {:?}", layer.state()),
                "H" => assert_eq!(layer.state(), State::HalfOpen, "{of}"),
                seconds => advance(seconds.parse::<u32>().unwrap() * SECOND).await,
            }
        }
    }
}

/// `data/breakers.json`, `rates`: the same calls are too few that go well, and a call that is slow is one that a timeout within
/// ends; but a call that goes well opens nothing.
#[tokio::test(start_paused = true)]
async fn the_next_failure_opens_it_after_as_many_as_open_resilience4js() {
    let table: Value = serde_json::from_str(include_str!("data/breakers.json")).unwrap();
    for case in table["rates"]["cases"].as_array().unwrap() {
        let number = |name: &str| case[name].as_u64().unwrap_or(1_000);
        let rate = Rate::exact(case["required"].as_f64().unwrap(), Duration::from_secs(number("window_s")));
        let rate = rate.unwrap().min_requests(number("least") as u32);
        let layer = BreakerLayer::new().consecutive_failures(0).success_rate(rate);
        let inner = Scripted::default();
        let slow = Duration::from_secs(number("slow_s"));
        let service = layer.layer(TimeoutLayer::per_attempt(slow).layer(inner.clone()));
        let steps = case["opens_with"].as_str().unwrap();
        let next = if steps.ends_with('S') { "F" } else { "" };
        for step in steps.split(' ').chain([next]).filter(|step| !step.is_empty()) {
            assert_eq!(layer.state(), State::Closed, "{case}");
            inner.push(match step {
                "S" => status(200, &[]),
                "W" => Answer::Wait(slow + SECOND),
                _ => fail("broken"),
            });
            let _ = service.clone().oneshot(get("/")).await;
        }
        assert!(matches!(layer.state(), State::Open { .. }), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_time_in_a_row_it_is_longer_and_anew_once_it_was_well() {
    let doubles = Backoff::exponential(5 * SECOND, 2.0, 300 * SECOND).unwrap();
    let layer = after(1).backoff(doubles.jitter(Jitter::None));
    let inner = Scripted::default();
    let service = layer.layer(inner.clone());
    for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
        inner.push(fail("broken"));
        let _ = service.clone().oneshot(get("/")).await;
        let State::Open { left } = layer.state() else { panic!("{:?}", layer.state()) };
        assert_eq!(left, seconds * SECOND);
        advance(left).await;
    }
    inner.push(status(200, &[]));
    inner.push(fail("broken"));
    let _ = service.clone().oneshot(get("/")).await;
    let _ = service.clone().oneshot(get("/")).await;
    assert_eq!(layer.state(), State::Open { left: 5 * SECOND });
}

#[tokio::test(start_paused = true)]
async fn by_default_it_is_left_alone_as_finagle_leaves_it() {
    let layer = BreakerLayer::new().seed(1);
    let inner = Scripted::default();
    let service = layer.layer(inner.clone());
    // Two of three: never five in a row, but fewer than 0.8.
    let mut sent = 0;
    while layer.state() == State::Closed {
        inner.push(if sent % 3 == 0 { fail("broken") } else { status(200, &[]) });
        let _ = service.clone().oneshot(get("/")).await;
        advance(SECOND).await;
        sent += 1;
    }
    assert!((30..=33).contains(&sent), "{sent}: after the first half minute");
    let State::Open { left } = layer.state() else { panic!("{:?}", layer.state()) };
    assert!((2 * SECOND..=5 * SECOND).contains(&(left + SECOND)), "{left:?}");
}

/// How long it is left alone, each time that it fails again.
async fn waits(layer: BreakerLayer, times: usize) -> Vec<Duration> {
    let inner = Scripted::default();
    let service = layer.layer(inner.clone());
    let mut waits = Vec::new();
    for failure in 1.. {
        inner.push(fail("broken"));
        let _ = service.clone().oneshot(get("/")).await;
        match layer.state() {
            State::Open { left } => waits.push(left),
            _ => assert!(failure < 5, "five in a row are enough"),
        }
        if waits.len() == times {
            break;
        }
        advance(waits.last().copied().unwrap_or_default()).await;
    }
    waits
}

#[tokio::test(start_paused = true)]
async fn by_default_five_failures_leave_it_alone_for_half_of_five_seconds_to_five_minutes_at_least() {
    let mut drawn = Vec::new();
    for seed in 0..100 {
        drawn.push(waits(BreakerLayer::new().seed(seed), 8).await);
    }
    for (place, seconds) in [5, 10, 20, 40, 80, 160, 300, 300].into_iter().enumerate() {
        let of: Vec<_> = drawn.iter().map(|waits| waits[place].as_secs_f64() / f64::from(seconds)).collect();
        let (least, most) = of.iter().fold((1.0_f64, 0.0_f64), |(a, b), &part| (a.min(part), b.max(part)));
        assert!((0.5..0.55).contains(&least) && (0.95..=1.0).contains(&most), "{seconds} s: {least}, {most}");
    }
    assert_eq!(waits(BreakerLayer::new().seed(3), 8).await, drawn[3], "the seed says how long");
    assert_ne!(drawn[3], drawn[4]);
}

#[tokio::test(start_paused = true)]
async fn by_default_five_of_six_that_go_well_are_enough_and_three_of_four_are_not() {
    for (of, well) in [(6, true), (4, false)] {
        let layer = BreakerLayer::new();
        let inner = Scripted::default();
        let service = layer.layer(inner.clone());
        for sent in 0..1_000 {
            if layer.state() == State::Closed {
                inner.push(if sent % of == of - 1 { fail("broken") } else { status(200, &[]) });
                let _ = service.clone().oneshot(get("/")).await;
                advance(SECOND / 10).await;
            }
        }
        assert_eq!(layer.state() == State::Closed, well, "one of {of} fails");
    }
}

/// hyper asks no body for frames that it says it does not have.
#[tokio::test(start_paused = true)]
async fn an_answer_that_says_all_in_its_head_is_judged_though_nobody_reads_its_body() {
    let silent = || {
        let Answer::Respond(answer) = grpc(0, &[]) else { panic!("it responds") };
        let (mut parts, _) = answer.into_parts();
        parts.headers.remove("grpc-status");
        Answer::Respond(http::Response::from_parts(parts, Frames::default()))
    };
    let unread = Frames { open: true, ..Frames::default() };
    let broken = http::Response::builder().status(503).body(unread).unwrap();
    for (answer, ends) in [(silent(), true), (grpc(14, &[]), true), (Answer::Respond(broken), false)] {
        let layer = after(1).http();
        let response = layer.layer(Scripted::new([answer])).oneshot(call(&["x"])).await.unwrap();
        assert_eq!(response.body().is_end_stream(), ends, "{response:?}");
        assert!(matches!(layer.state(), State::Open { .. }), "{response:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn statuses_are_failures_if_they_are_read_and_those_of_grpc_in_trailers_too() {
    let opaque = after(1);
    let inner = Scripted::new([status(503, &[])]);
    assert!(opaque.layer(inner).oneshot(get("/")).await.is_ok());
    assert_eq!(opaque.state(), State::Closed);
    for (answer, fails) in [
        (status(500, &[]), true),
        (status(429, &[]), true),
        (status(404, &[]), false),
        (grpc(14, &[]), true),
        (grpc(5, &[]), false),
        (grpc_trailers(&["a"], 13, &[]), true),
        (grpc_trailers(&["a"], 0, &[]), false),
    ] {
        let layer = after(1).http();
        let response = layer.layer(Scripted::new([answer])).oneshot(call(&["x"])).await.unwrap();
        let of = format!("{:?} {:?}", response.status(), response.headers());
        collect(response.into_body()).await;
        assert_eq!(matches!(layer.state(), State::Open { .. }), fails, "{of}");
    }
}

/// A stream may last for days, and a subscription say nothing for as long.
#[tokio::test(start_paused = true)]
async fn a_stream_tells_with_its_first_message_that_the_service_is_well_and_keeps_nobody_waiting_until_it_ends()
 {
    let opened = async || {
        let layer = after(1).http();
        let inner = Scripted::new([fail("broken")]);
        let service = layer.layer(inner.clone());
        let _ = service.clone().oneshot(get("/")).await;
        advance(10 * SECOND).await;
        (layer, inner, service)
    };
    let (layer, inner, service) = opened().await;
    inner.push(grpc_trailers(&["a"], 13, &[]));
    let mut stream = service.clone().oneshot(call(&["x"])).await.unwrap().into_body();
    assert_eq!(layer.state(), State::HalfOpen);
    stream.frame().await.unwrap().unwrap();
    assert_eq!(layer.state(), State::Closed);
    collect(stream).await;
    assert_eq!(layer.state(), State::Closed, "it began before the service was known to be well");

    let (layer, inner, service) = opened().await;
    inner.push(grpc_silent());
    let silent = service.clone().oneshot(call(&["x"])).await.unwrap();
    assert!(is_turned_away(&service.clone().oneshot(get("/")).await.unwrap_err()), "one at a time");
    advance(10 * SECOND).await;
    inner.push(status(200, &[]));
    assert!(service.clone().oneshot(get("/")).await.is_ok(), "another may find out after as long again");
    assert_eq!(layer.state(), State::Closed);
    drop(silent);
    assert_eq!(layer.state(), State::Closed, "whoever gives up after that has nothing to say");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_and_what_was_given_up_say_nothing() {
    let layer = after(1);
    let inner = Scripted::new([fail(NotSent::new("connection refused"))]);
    let service = layer.layer(inner.clone());
    let _ = service.clone().oneshot(get("/")).await;
    inner.push(Answer::Hang);
    let _ = tokio::time::timeout(SECOND, service.clone().oneshot(get("/"))).await;
    assert_eq!(layer.state(), State::Closed);

    // One that began before it was left alone tells nothing of how it is since.
    inner.push(Answer::Wait(SECOND));
    inner.push(fail("broken"));
    let early = tokio::spawn(service.clone().oneshot(get("/")));
    tokio::task::yield_now().await;
    let _ = service.clone().oneshot(get("/")).await;
    assert!(early.await.unwrap().is_ok());
    assert_eq!(layer.state(), State::Open { left: 9 * SECOND });

    // Who was to find out gave up: the next one does.
    advance(9 * SECOND).await;
    inner.push(Answer::Hang);
    let _ = tokio::time::timeout(SECOND, service.clone().oneshot(get("/"))).await;
    assert_eq!(layer.state(), State::HalfOpen);
    inner.push(status(200, &[]));
    assert!(service.oneshot(get("/")).await.is_ok());
    assert_eq!(layer.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_is_turned_away_is_not_sent_again_and_below_a_balancer_goes_elsewhere() {
    let layer = after(1);
    let inner = Scripted::new([fail("broken")]);
    let service = RetryLayer::new().layer(layer.layer(inner.clone()));
    let posted = Request::post("http://greeter/").body(Frames::default()).unwrap();
    assert!(!is_turned_away(&service.clone().oneshot(posted).await.unwrap_err()));
    assert!(is_turned_away(&service.oneshot(get("/")).await.unwrap_err()));
    assert_eq!(inner.attempts().len(), 1);

    let replica = |well: bool| {
        after(1).layer(service_fn(move |(): ()| async move { if well { Ok(()) } else { Err("broken") } }))
    };
    let replicas = ServiceList::new::<()>(vec![replica(false), replica(true)]);
    let ejection = micro_balance::Ejection::off();
    let balance = Balance::builder(replicas).policy(RoundRobin::new()).ejection(ejection).build();
    sleep(SECOND / 100).await;
    let mut failed = 0;
    for _ in 0..20 {
        failed += usize::from(balance.clone().oneshot(()).await.is_err());
    }
    assert_eq!(failed, 1);
}

#[tokio::test(start_paused = true)]
async fn while_it_is_open_it_is_ready_at_once_and_never_calls_who_was_not_asked() {
    let layer = after(1);
    let inner = Scripted::new([fail("broken"), status(200, &[])]);
    let service = layer.layer(inner.clone());
    let _ = service.clone().oneshot(get("/")).await;
    inner.be_busy(u32::MAX);
    let turned_away = service.clone().oneshot(get("/")).now_or_never().expect("nobody waits for the service");
    assert!(is_turned_away(&turned_away.unwrap_err()));

    // Its time comes between the two: the request is turned away all the same, and the next one finds out.
    let mut early = service.clone();
    ServiceExt::<Request<Frames>>::ready(&mut early).await.unwrap();
    advance(10 * SECOND).await;
    assert_eq!(layer.state(), State::HalfOpen);
    assert!(is_turned_away(&early.call(get("/")).await.unwrap_err()));
    assert!(
        ServiceExt::<Request<Frames>>::ready(&mut early).now_or_never().is_none(),
        "it waits for the service again"
    );
    inner.be_busy(0);
    ServiceExt::<Request<Frames>>::ready(&mut early).await.unwrap();
    assert!(early.call(get("/")).await.is_ok());
    assert_eq!((layer.state(), inner.attempts().len()), (State::Closed, 2));
}

#[test]
fn what_cannot_be_kept_is_refused() {
    assert!(Rate::of_requests(1.5, 10).is_err() && Rate::within(-0.1, SECOND).is_err());
    assert!(Rate::of_requests(0.5, 0).is_err() && Rate::within(0.5, Duration::ZERO).is_err());
}
