//! Retries, against a service that answers by a script.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use std::{
    collections::BTreeSet,
    pin::pin,
    time::{Duration, SystemTime},
};

use http::{HeaderName, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use micro_balance::{
    NotSent, Repeatable, Tried, Unsent,
    retry::{Backoff, Budget, PeekBody, Retry, RetryLayer, When},
    timeout::{Elapsed, TimeoutLayer},
};
use scripted::*;
use serde_json::Value;
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_layer::Layer;
use tower_service::Service;

const MINUTE: Duration = Duration::from_secs(60);

type Answered = Result<Response<PeekBody<Frames>>, BoxError>;

fn layer() -> RetryLayer {
    RetryLayer::new().seed(7)
}

async fn send(layer: &RetryLayer, inner: &Scripted, request: Request<Frames>) -> Answered {
    layer.layer(inner.clone()).oneshot(request).await
}

fn grpc_status<B>(answer: &Response<B>) -> Option<&str> {
    answer.headers().get("grpc-status").map(|value| value.to_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_call_answered_unavailable_is_sent_again_as_it_was() {
    let inner = Scripted::new([grpc(14, &[]), grpc_trailers(&["hi"], 0, &[])]);
    let mut request = call(&["one", "two"]);
    request.headers_mut().append("x", "1".parse().unwrap());
    request.headers_mut().append("x", "2".parse().unwrap());
    request.extensions_mut().insert("mine");
    let answer = send(&layer(), &inner, request).await.unwrap();
    let (body, trailers) = collect(answer.into_body()).await;
    assert_eq!((&*body, trailers.unwrap()["grpc-status"].as_bytes()), ("hi", "0".as_bytes()));

    let [first, second] = &inner.attempts()[..] else { panic!("two attempts") };
    assert_eq!(second.text(), "onetwo");
    assert_eq!((&first.method, &first.uri), (&second.method, &second.uri));
    assert_eq!(second.headers.get_all("x").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(second.extensions.get::<&str>(), Some(&"mine"));
    assert_eq!(first.header("grpc-previous-rpc-attempts"), None);
    assert_eq!(second.header("grpc-previous-rpc-attempts"), Some("1"));
    assert!(second.at - first.at <= Duration::from_millis(25));
}

#[tokio::test(start_paused = true)]
async fn a_status_in_the_trailers_of_an_empty_answer_decides_too() {
    let inner = Scripted::new([
        grpc_trailers(&[], 14, &[]),
        grpc_trailers(&[], 14, &[]),
        grpc_trailers(&[], 14, &[]),
    ]);
    let answer = send(&layer(), &inner, call(&["x"])).await.unwrap();
    assert_eq!(inner.attempts().len(), 3, "three attempts and no more");
    assert_eq!(inner.attempts()[2].header("grpc-previous-rpc-attempts"), Some("2"));
    let (body, trailers) = collect(answer.into_body()).await;
    assert_eq!(
        (&*body, trailers.unwrap()["grpc-status"].as_bytes()),
        ("", "14".as_bytes()),
        "it is put back"
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_commits_and_is_put_back_in_front() {
    let inner = Scripted::new([grpc_trailers(&["one", "two"], 14, &[])]);
    let answer = send(&layer(), &inner, call(&["x"])).await.unwrap();
    assert!(!answer.body().is_end_stream());
    assert_eq!(answer.body().size_hint().lower(), 3);
    let (body, trailers) = collect(answer.into_body()).await;
    assert_eq!((&*body, trailers.unwrap()["grpc-status"].as_bytes()), ("onetwo", "14".as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_says_nothing_yet_is_handed_on_after_a_moment() {
    let inner = Scripted::new([grpc_silent()]);
    let began = Instant::now();
    assert!(send(&layer(), &inner, call(&["x"])).await.is_ok());
    assert_eq!(began.elapsed(), Duration::from_millis(10));

    inner.push(grpc_silent());
    let now = Instant::now();
    assert!(send(&layer().look(Duration::ZERO), &inner, call(&["x"])).await.is_ok());
    assert_eq!(now.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_dies_between_head_and_message_is_no_failure_of_a_call_that_may_be_repeated() {
    let repeatable = |chunks| {
        let mut request = call(chunks);
        request.extensions_mut().insert(Repeatable);
        request
    };
    let inner = Scripted::new([grpc_broken(Duration::from_secs(2)), grpc_trailers(&["hi"], 0, &[])]);
    let answer = send(&layer(), &inner, repeatable(&["x"])).await.unwrap();
    let (body, trailers) = collect(answer.into_body()).await;
    assert_eq!((&*body, trailers.unwrap()["grpc-status"].as_bytes()), ("hi", "0".as_bytes()));
    assert_eq!(inner.attempts().len(), 2);

    let began = Instant::now();
    inner.push(grpc_silent());
    assert!(send(&layer(), &inner, repeatable(&["x"])).await.is_ok());
    assert_eq!(began.elapsed(), Duration::from_secs(3), "a stream that has nothing to say is handed on");

    let now = Instant::now();
    inner.push(grpc_silent_early());
    assert!(send(&layer(), &inner, repeatable(&["x"])).await.is_ok());
    assert_eq!(now.elapsed(), Duration::from_millis(10), "whoever has more to send may wait for the head");
}

#[tokio::test(start_paused = true)]
async fn other_codes_are_the_callers_business() {
    for code in [0, 1, 2, 3, 4, 5, 7, 8, 13, 16] {
        let inner = Scripted::new([grpc(code, &[])]);
        let answer = send(&layer(), &inner, call(&[])).await.unwrap();
        assert_eq!(grpc_status(&answer), Some(&*code.to_string()));
    }
    let inner = Scripted::new([grpc(8, &[]), grpc(0, &[])]);
    send(&layer().when(When::default().code(8)), &inner, call(&[])).await.unwrap();
    assert_eq!(inner.attempts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn http_is_sent_again_only_if_it_may_be_carried_out_twice() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST", "PATCH"] {
        for code in [502, 503, 504, 500, 404] {
            let inner = Scripted::new([status(code, &[]), status(200, &[])]);
            let request = Request::builder().method(method).body(frames(&["x"])).unwrap();
            send(&layer(), &inner, request).await.unwrap();
            let again = code >= 502 && !matches!(method, "POST" | "PATCH");
            assert_eq!(inner.attempts().len(), if again { 2 } else { 1 }, "{method} {code}");
            assert_eq!(inner.attempts().last().unwrap().text(), "x");
            assert!(inner.attempts().last().unwrap().header("grpc-previous-rpc-attempts").is_none());
        }
    }
    let inner = Scripted::new([status(503, &[]), status(200, &[])]);
    let request = Request::post("/").extension(Repeatable).body(frames(&["x"])).unwrap();
    send(&layer(), &inner, request).await.unwrap();
    assert_eq!(inner.attempts().len(), 2);
}

/// What its client retries, and how often, are settings.
#[tokio::test(start_paused = true)]
async fn an_answer_may_be_told_from_others_by_more_than_its_status() {
    let when =
        When::default().also(|status, headers| status == 409 && headers.contains_key("x-should-retry"));
    let asks = || status(409, &[("x-should-retry", "1")]);
    for (answer, request, attempts) in [
        (asks(), get("/"), 2),
        (asks(), call(&[]), 1),
        (status(409, &[]), get("/"), 1),
        (status(503, &[]), get("/"), 2),
        (status(200, &[("x-should-retry", "1")]), get("/"), 1),
    ] {
        let inner = Scripted::new([answer, status(200, &[])]);
        send(&layer().when(when.clone()), &inner, request).await.unwrap();
        assert_eq!(inner.attempts().len(), attempts);
    }
}

/// The rows of Envoy's tests of its retry state on answers: what is told to repeat, the answer, and whether it is.
#[tokio::test(start_paused = true)]
async fn answers_are_repeated_as_envoy_repeats_them() {
    let statuses = |statuses: &[u16]| {
        let statuses = statuses.iter().map(|status| StatusCode::from_u16(*status).unwrap());
        statuses.fold(When::never(), When::status)
    };
    let (gateway, never) = (statuses(&[502, 503, 504]), When::never());
    let five = statuses(&(500..600).collect::<Vec<_>>());
    let told = |name: &'static str| When::never().header(HeaderName::from_static(name));
    let overloaded = [("x-envoy-overloaded", "true")];
    let limited = [("x-envoy-ratelimited", "true")];
    let rows = [
        (five.clone(), status(500, &[]), true),
        (five.clone(), status(503, &overloaded), false),
        (five, status(200, &[]), false),
        (gateway.clone(), status(500, &[]), false),
        (gateway.clone(), status(502, &[]), true),
        (gateway.clone(), status(503, &[]), true),
        (gateway.clone(), status(504, &[]), true),
        (gateway, status(503, &limited), false),
        (statuses(&[409]), status(409, &[]), true),
        (statuses(&[409]), status(400, &[]), false),
        (told("x-upstream-pushback"), status(200, &[("x-upstream-pushback", "false")]), true),
        (told("x-envoy-ratelimited"), status(429, &limited), true),
        (never.clone(), status(429, &limited), false),
        (never.clone().code(8), grpc(8, &limited), false),
        (never.clone().code(1), grpc(1, &[]), true),
        (never.clone().code(4), grpc(4, &[]), true),
        (never.clone().code(8), grpc(8, &[]), true),
        (never.clone().code(13), grpc(13, &[]), true),
        (never.clone().code(14), grpc(14, &[]), true),
        (never.code(14), grpc(13, &[]), false),
    ];
    for (number, (when, answer, again)) in rows.into_iter().enumerate() {
        let inner = Scripted::new([answer, status(200, &[])]);
        let request = if number < 13 { get("/") } else { call(&["x"]) };
        send(&layer().when(when), &inner, request).await.unwrap();
        assert_eq!(inner.attempts().len(), 1 + usize::from(again), "row {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_a_header_that_asks_for_it_is_repeated_whatever_its_status() {
    let when = When::default().header(HeaderName::from_static("x-should-retry"));
    for (answer, request, attempts) in [
        (status(200, &[("x-should-retry", "")]), get("/"), 2),
        (status(409, &[("x-should-retry", "1")]), call(&[]), 1),
        (status(409, &[("x-retry", "1")]), get("/"), 1),
    ] {
        let inner = Scripted::new([answer, status(200, &[])]);
        send(&layer().when(when.clone()), &inner, request).await.unwrap();
        assert_eq!(inner.attempts().len(), attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn go_micros_client_is_a_layer_of_ours() {
    let table = include_str!("data/gomicro_selectors.json");
    let table = serde_json::from_str::<Value>(table).unwrap()["client"].take();
    for version in ["v1", "v6"] {
        let client = &table[version];
        let on: Vec<_> = client["retry_on"].as_array().unwrap().iter().map(|s| s.as_u64().unwrap()).collect();
        let status_of = |status: &u64| http::StatusCode::from_u16(*status as u16).unwrap();
        let when = on.iter().fold(When::never(), |when, status| when.status(status_of(status)));
        let attempts = client["retries"].as_u64().unwrap() as u32 + 1;
        let layer = layer().when(when).attempts(attempts).at_most(attempts).budget(Budget::endless());
        for code in [408, 500, 503] {
            let inner = Scripted::new((0..attempts).map(|_| status(code, &[])));
            send(&layer, &inner, get("/")).await.unwrap();
            let expected = if on.contains(&code.into()) { attempts as usize } else { 1 };
            assert_eq!(inner.attempts().len(), expected, "{version} {code}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_is_repeated_only_if_the_request_may_be() {
    let inner = Scripted::new([fail("reset by peer")]);
    assert_eq!(send(&layer(), &inner, call(&["x"])).await.unwrap_err().to_string(), "reset by peer");

    let inner = Scripted::new([fail("reset by peer"), grpc(0, &[])]);
    let mut request = call(&["x"]);
    request.extensions_mut().insert(Repeatable);
    assert!(send(&layer(), &inner, request).await.is_ok());

    let inner = Scripted::new([fail("reset by peer"), status(200, &[])]);
    assert!(send(&layer(), &inner, get("/")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stream_broken_before_its_first_message_is_an_attempt_that_failed() {
    let broken = || {
        let Answer::Respond(mut response) = grpc_silent() else { panic!() };
        response.body_mut().frames.push_back(Err("reset by peer".into()));
        Answer::Respond(response)
    };
    let inner = Scripted::new([broken(), grpc(0, &[])]);
    let mut request = call(&["x"]);
    request.extensions_mut().insert(Repeatable);
    assert_eq!(grpc_status(&send(&layer(), &inner, request).await.unwrap()), Some("0"));

    let inner = Scripted::new([broken()]);
    let answer = send(&layer(), &inner, call(&["x"])).await.unwrap();
    let frame = http_body_util::BodyExt::frame(&mut pin!(answer.into_body())).await;
    assert_eq!(frame.unwrap().unwrap_err().to_string(), "reset by peer", "it is put back");
}

/// R6 of go-micro: it waits before it tries another node, too.
#[tokio::test(start_paused = true)]
async fn what_was_not_sent_is_sent_again_outside_the_budget() {
    let nothing = Budget::new(0.0, 0, Duration::from_secs(10)).unwrap();
    let unsent = || fail(NotSent::new("refused"));
    let handed_back = fail(Unsent::new(Request::new(()), "refused"));
    let inner = Scripted::new([unsent(), handed_back, unsent(), status(200, &[])]);
    let request = Request::post("/").body(frames(&["x"])).unwrap();
    let began = Instant::now();
    assert!(send(&layer().attempts(1).budget(nothing.clone()), &inner, request).await.is_ok());
    let attempts = inner.attempts();
    assert_eq!(attempts.len(), 4);
    assert_eq!(attempts[1].at, began, "the first time at once");
    assert_eq!(attempts[3].text(), "x");
    assert!(attempts[3].header("grpc-previous-rpc-attempts").is_none());
}

/// `data/policies/grpc_retry.json`, `transparent`: without limit.
#[tokio::test(start_paused = true)]
async fn what_never_left_is_sent_until_its_time_is_over() {
    let unsent = || Scripted::new((0..4000).map(|_| fail(NotSent::new("refused"))));
    let patient = layer().attempts(1).backoff(Backoff::constant(Duration::from_secs(1)));
    let (inner, began) = (unsent(), Instant::now());
    let mut request = call(&["x"]);
    request.headers_mut().insert("grpc-timeout", "10S".parse().unwrap());
    let error = send(&patient, &inner, request).await.unwrap_err();
    assert!(NotSent::is(error.as_ref()));
    assert_eq!(began.elapsed(), Duration::from_secs(9), "none after the caller's time");
    assert_eq!(inner.attempts().len(), 11, "the second at once");

    let (inner, began) = (unsent(), Instant::now());
    send(&layer(), &inner, call(&["x"])).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(3), "who says no time is not kept for ever");
    assert!(inner.attempts().len() > 12, "{} attempts", inner.attempts().len());

    let (inner, began) = (unsent(), Instant::now());
    send(&layer().backoff(Backoff::constant(Duration::ZERO)), &inner, call(&["x"])).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(inner.attempts().len() < 3002, "and no task spins");
}

/// `data/policies/grpc_retry.json`, `transparent`: once.
#[tokio::test(start_paused = true)]
async fn what_a_server_turned_away_unread_is_sent_again_for_nothing_once() {
    let unread = || fail(NotSent::refused("REFUSED_STREAM"));
    let post = || Request::post("/").body(frames(&["x"])).unwrap();
    let nothing = Budget::new(0.0, 0, Duration::from_secs(10)).unwrap();
    let (inner, began) = (Scripted::new([unread(), status(200, &[])]), Instant::now());
    assert!(send(&layer().attempts(1).budget(nothing.clone()), &inner, post()).await.is_ok());
    assert_eq!((inner.attempts().len(), began.elapsed()), (2, Duration::ZERO));

    // Then it is a failure as any other: it costs an attempt, a wait and a token, whatever the request does.
    let inner = Scripted::new([unread(), unread()]);
    let error = send(&layer().budget(nothing), &inner, post()).await.unwrap_err();
    assert!(NotSent::is(error.as_ref()));
    let inner = Scripted::new([unread(), unread(), unread(), unread()]);
    let waits = layer().attempts(3).backoff(Backoff::constant(Duration::from_secs(1)));
    send(&waits, &inner, call(&["x"])).await.unwrap_err();
    let attempts = inner.attempts();
    let before: Vec<_> = attempts.iter().map(|a| a.header("grpc-previous-rpc-attempts")).collect();
    assert_eq!(before, [None, None, Some("1"), Some("2")]);
    assert_eq!(began.elapsed(), Duration::from_secs(2));
}

/// The rows of `streaming` that have numbers; the others stand in tests of their own.
#[tokio::test(start_paused = true)]
async fn a_servers_pushback_is_waited_for_exactly_or_forbids() {
    let table = table();
    let rows = table["streaming"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == "pushback").unwrap();
    let zero = serde_json::json!({ "v": "0", "retry": true, "delay_ge_ms": 0 });
    for in_trailers in [false, true] {
        for case in row["values"].as_array().unwrap().iter().chain([&zero]) {
            let values = case["v"].as_array().cloned().unwrap_or_else(|| vec![case["v"].clone()]);
            let pairs: Vec<_> =
                values.iter().map(|value| ("grpc-retry-pushback-ms", value.as_str().unwrap())).collect();
            let failure = if in_trailers { grpc_trailers(&[], 14, &pairs) } else { grpc(14, &pairs) };
            let inner = Scripted::new([failure, grpc(0, &[])]);
            let began = Instant::now();
            send(&layer(), &inner, call(&["x"])).await.unwrap();
            assert_eq!(inner.attempts().len() == 2, case["retry"] == true, "{case}");
            let wait = case["delay_ge_ms"].as_u64().unwrap_or_default();
            assert_eq!(began.elapsed(), Duration::from_millis(wait), "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_other_rows_of_grpc_go_hold() {
    let table = table();
    let rows = table["streaming"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    for (name, answers) in [
        ("non-retryable status", vec![grpc(3, &[])]),
        ("retryable once", vec![grpc(14, &[]), grpc(0, &[])]),
        ("exceed max attempts", (0..9).map(|_| grpc(14, &[])).collect()),
    ] {
        let inner = Scripted::new(answers);
        let at_most = row(name)["max_attempts"].as_u64().unwrap_or(3) as u32;
        send(&layer().attempts(at_most), &inner, call(&["x"])).await.unwrap();
        assert_eq!(inner.attempts().len(), row(name)["attempts"].as_u64().unwrap() as usize, "{name}");
        if let Some(header) = row(name)["header_on_2nd"].as_str() {
            let (header, value) = header.split_once(": ").unwrap();
            assert_eq!(inner.attempts()[1].header(header), Some(value));
        }
    }
    let limit = row("buffer limit");
    let inner = Scripted::new([grpc(14, &[])]);
    let payload = "x".repeat(limit["payload"].as_u64().unwrap() as usize).leak();
    let keep = limit["retry_buffer_bytes"].as_u64().unwrap() as usize;
    send(&layer().keep(keep), &inner, call(&[payload])).await.unwrap();
    assert_eq!(inner.attempts().len(), 1, "committed");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_forbids_retries_costs_a_token_whatever_its_code() {
    for (code, pushback, left) in [(3, "-1", 3), (14, "-1", 3), (3, "100", 4), (0, "-1", 4)] {
        let budget = Budget::throttle(10, 0.1).unwrap();
        let inner = Scripted::new([grpc(code, &[("grpc-retry-pushback-ms", pushback)])]);
        send(&layer().budget(budget.clone()), &inner, call(&[])).await.unwrap();
        assert_eq!((budget.balance(), inner.attempts().len()), (left, 1), "{code} {pushback}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_call_is_one_retry_at_a_time_to_a_concurrent_budget() {
    let budget = Budget::concurrent(0.0, 1).unwrap();
    let inner = Scripted::new((0..3).map(|_| grpc(14, &[])));
    send(&layer().attempts(3).budget(budget.clone()), &inner, call(&[])).await.unwrap();
    assert_eq!((inner.attempts().len(), budget.balance()), (3, 1));
    // And a call that has one may not have what another has meanwhile.
    inner.push(grpc(14, &[]));
    inner.push(Answer::Hang);
    let layer = layer().attempts(3).budget(budget.clone());
    let mut first = task::spawn(send(&layer, &inner, call(&[])));
    assert_pending!(first.poll());
    advance(Duration::from_secs(1)).await;
    assert_pending!(first.poll());
    inner.push(grpc(14, &[]));
    send(&layer, &inner, call(&[])).await.unwrap();
    assert_eq!((inner.attempts().len(), budget.balance()), (6, 0));
    drop(first);
    assert_eq!(budget.balance(), 1);
}

#[tokio::test(start_paused = true)]
async fn pushback_starts_the_waits_over() {
    let backoff = Backoff::custom(|retry| Duration::from_secs(1 + u64::from(retry)));
    let inner = Scripted::new([
        grpc(14, &[]),
        grpc(14, &[]),
        grpc(14, &[("grpc-retry-pushback-ms", "10000")]),
        grpc(14, &[]),
        grpc(0, &[]),
    ]);
    send(&layer().attempts(5).backoff(backoff), &inner, call(&[])).await.unwrap();
    let attempts = inner.attempts();
    let waits: Vec<_> = attempts.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs()).collect();
    assert_eq!(waits, [1, 2, 10, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_decorrelated_wait_is_three_times_the_last_at_most() {
    let ms = Duration::from_millis;
    let backoff = Backoff::decorrelated(ms(10), ms(1000)).unwrap();
    let inner = Scripted::new((0..9).map(|_| grpc(14, &[])));
    let patient = layer().attempts(9).at_most(9).backoff(backoff).budget(Budget::endless());
    send(&patient, &inner, call(&[])).await.unwrap();
    let attempts = inner.attempts();
    let waits: Vec<_> = attempts.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert_eq!((waits.len(), waits[0]), (8, ms(10)));
    // The clock of the test knows whole milliseconds.
    assert!(waits.windows(2).all(|pair| (ms(10)..=pair[0] * 3 + ms(1)).contains(&pair[1])), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait > ms(30)), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_in_seconds_and_as_a_date() {
    let inner = Scripted::new([status(503, &[("retry-after", "7")]), status(200, &[])]);
    let began = Instant::now();
    send(&layer(), &inner, get("/")).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(7));

    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(86_400));
    let inner = Scripted::new([status(503, &[("retry-after", &date)]), status(200, &[])]);
    let began = Instant::now();
    send(&layer(), &inner, get("/")).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(300), "at most five minutes");
}

/// Envoy's rate limited back-off: from what is asked for to half as much again.
#[tokio::test(start_paused = true)]
async fn not_all_who_are_told_the_same_are_back_at_the_same_time() {
    let mut waits = BTreeSet::new();
    for seed in 0..50 {
        let inner = Scripted::new([status(429, &[("retry-after", "10")]), status(200, &[])]);
        let when = When::default().status(StatusCode::TOO_MANY_REQUESTS);
        let began = Instant::now();
        send(&layer().when(when).retry_after_jitter(0.5).seed(seed), &inner, get("/")).await.unwrap();
        waits.insert(began.elapsed().as_millis());
    }
    assert!(waits.iter().all(|wait| (10_000..=15_001).contains(wait)) && waits.len() > 40, "{waits:?}");
    assert!(waits.first() < Some(&10_500) && waits.last() > Some(&14_500), "{waits:?}");
    // What gRPC says is exact.
    let inner = Scripted::new([grpc(14, &[("grpc-retry-pushback-ms", "1000")]), grpc(0, &[])]);
    let began = Instant::now();
    send(&layer().retry_after_jitter(0.5), &inner, call(&["x"])).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}

/// R6 of go-micro: its waits between attempts go on when the caller has given up.
#[tokio::test(start_paused = true)]
async fn no_attempt_starts_after_the_callers_time() {
    let inner = Scripted::new([grpc(14, &[("grpc-retry-pushback-ms", "1000")])]);
    let mut request = call(&["x"]);
    request.headers_mut().insert("grpc-timeout", "1000m".parse().unwrap());
    let began = Instant::now();
    let answer = send(&layer(), &inner, request).await.unwrap();
    assert_eq!(grpc_status(&answer), Some("14"), "the failure at hand, at once");
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_gets_what_is_left_of_the_time() {
    let wait = [("grpc-retry-pushback-ms", "30")];
    let inner = Scripted::new([grpc(14, &wait), grpc(14, &wait), grpc(0, &[])]);
    let mut request = call(&["x"]);
    request.headers_mut().insert("grpc-timeout", "100m".parse().unwrap());
    send(&layer(), &inner, request).await.unwrap();
    let timeouts: Vec<_> =
        inner.attempts().iter().map(|a| a.header("grpc-timeout").unwrap().to_owned()).collect();
    assert_eq!(timeouts, ["100m", "70000000n", "40000000n"]);
}

#[tokio::test(start_paused = true)]
async fn what_else_knows_when_a_call_is_over_is_asked_before_each_retry() {
    let soon = || Some(Instant::now() + Duration::from_secs(5));
    for (wait, attempts) in [(4, 2), (5, 1), (6, 1)] {
        let inner = Scripted::new([grpc(14, &[]), grpc(0, &[])]);
        let waits = Backoff::constant(Duration::from_secs(wait));
        let layer = layer().deadline(soon).backoff(waits);
        send(&layer, &inner, call(&["x"])).await.unwrap();
        assert_eq!(inner.attempts().len(), attempts, "{wait} s of 5");
    }
    // What was turned away unread, or never left, is not sent again either when there is no time.
    let over = || Some(Instant::now());
    for error in [NotSent::refused("REFUSED_STREAM"), NotSent::new("connection refused")] {
        let inner = Scripted::new([fail(error)]);
        send(&layer().deadline(over), &inner, call(&["x"])).await.unwrap_err();
        assert_eq!(inner.attempts().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_seed_is_the_same_waits_each_time() {
    let waits = async |seed: u64| {
        let inner = Scripted::new((0..5).map(|_| grpc(14, &[])));
        let layer = layer().attempts(5).backoff(Backoff::exponential(MINUTE, 2.0, MINUTE * 60).unwrap());
        send(&layer.budget(Budget::endless()).seed(seed), &inner, call(&["x"])).await.unwrap();
        inner.attempts().windows(2).map(|pair| pair[1].at - pair[0].at).collect::<Vec<_>>()
    };
    assert_eq!(waits(1).await, waits(1).await);
    assert_ne!(waits(1).await, waits(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_body_longer_than_what_is_kept_is_sent_once() {
    let long = || Frames { open: false, ..frames(&["0123456789", "0123456789"]) };
    let inner = Scripted::new([grpc(14, &[])]);
    let answer = send(&layer().keep(19), &inner, call(&[]).map(|_| long())).await.unwrap();
    assert_eq!(grpc_status(&answer), Some("14"));
    assert_eq!(inner.attempts()[0].text().len(), 20, "the attempt itself is unaffected");

    let inner = Scripted::new([grpc(14, &[]), grpc(0, &[])]);
    send(&layer().keep(20), &inner, call(&[]).map(|_| long())).await.unwrap();
    assert_eq!(inner.attempts()[1].text().len(), 20);
}

/// A body that says how long it is.
struct Sized(Frames, u64);

impl Body for Sized {
    type Data = bytes::Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<bytes::Bytes>, BoxError>>> {
        std::pin::Pin::new(&mut self.0).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.1)
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_known_to_be_too_long_is_not_even_begun_again() {
    let early = |answer| match answer {
        Answer::Respond(response) => Answer::RespondEarly(response),
        other => other,
    };
    let inner = Scripted::new([early(grpc(14, &[]))]);
    let request = call(&[]).map(|_| Sized(frames(&["x"]), 65_537));
    let answer = layer().layer(inner.clone()).oneshot(request).await.unwrap();
    assert_eq!(grpc_status(&answer), Some("14"));

    // Where nothing was sent, nothing of the body is missing either.
    let inner = Scripted::new([Answer::FailEarly(NotSent::new("refused").into()), status(200, &[])]);
    let request = call(&[]).map(|_| Sized(frames(&["x"]), 65_537));
    assert!(layer().layer(inner.clone()).oneshot(request).await.is_ok());
    assert_eq!(inner.attempts()[1].text(), "x");
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_shared_and_ends_the_retries() {
    let budget = Budget::new(0.5, 0, Duration::from_secs(10)).unwrap();
    let layer = layer().budget(budget.clone());
    for _ in 0..2 {
        let inner = Scripted::new([grpc(0, &[])]);
        send(&layer, &inner, call(&[])).await.unwrap();
    }
    assert_eq!(budget.balance(), 1);
    let inner = Scripted::new([grpc(14, &[]), grpc(14, &[])]);
    let answer = send(&layer.clone(), &inner, call(&[])).await.unwrap();
    assert_eq!(grpc_status(&answer), Some("14"));
    assert_eq!(inner.attempts().len(), 2);
    assert_eq!(budget.balance(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_not_made_worse_than_the_budget_allows() {
    let layer = layer().budget(Budget::new(0.2, 0, Duration::from_secs(10)).unwrap());
    let inner = Scripted::default();
    for _ in 0..1000 {
        (0..3).for_each(|_| inner.push(grpc(14, &[])));
        send(&layer, &inner, call(&[])).await.unwrap();
        inner.forget();
    }
    assert!((1190..=1200).contains(&inner.attempts().len()), "{}", inner.attempts().len());
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_there_at_once_is_passed_on_at_once() {
    for answer in [status(200, &[]), grpc(0, &[]), grpc_trailers(&["x"], 0, &[])] {
        let mut retry = layer().layer(Scripted::new([answer]));
        let mut ready = task::spawn(());
        ready.enter(|cx, _| assert_ready_ok!(Service::<Request<Frames>>::poll_ready(&mut retry, cx)));
        let mut response = task::spawn(retry.call(call(&["x"])));
        assert_ready_ok!(response.poll());
        assert!(!response.is_woken());
    }
}

#[tokio::test(start_paused = true)]
async fn a_future_dropped_anywhere_costs_nothing_that_was_not_sent() {
    let budget = Budget::new(1.0, 0, Duration::from_secs(10)).unwrap();
    let layer = layer().budget(budget.clone()).backoff(Backoff::constant(Duration::from_secs(1)));
    // In the first attempt.
    let inner = Scripted::new([Answer::Hang, grpc(14, &[]), grpc(14, &[]), grpc(14, &[]), Answer::Hang]);
    let start = |inner: &Scripted| {
        let mut retry = layer.layer(inner.clone());
        let mut ready = task::spawn(());
        ready.enter(|cx, _| assert_ready_ok!(Service::<Request<Frames>>::poll_ready(&mut retry, cx)));
        task::spawn(retry.call(call(&["x"])))
    };
    let mut hanging = start(&inner);
    assert_pending!(hanging.poll());
    assert_eq!(inner.open(), 1);
    drop(hanging);
    assert_eq!((inner.open(), budget.balance()), (0, 1));
    // In the wait: what was paid for the retry comes back.
    let mut waiting = start(&inner);
    assert_pending!(waiting.poll());
    assert_eq!(budget.balance(), 1, "2 earned, 1 paid");
    drop(waiting);
    assert_eq!((inner.open(), budget.balance()), (0, 2));
    // While the service is not ready.
    let mut readying = start(&inner);
    assert_pending!(readying.poll());
    advance(Duration::from_secs(1)).await;
    inner.be_busy(1);
    assert_pending!(readying.poll());
    drop(readying);
    assert_eq!((inner.open(), budget.balance()), (0, 3));
    // In the second attempt: it was sent.
    let mut again = start(&inner);
    assert_pending!(again.poll());
    advance(Duration::from_secs(1)).await;
    assert_pending!(again.poll());
    assert_eq!(inner.open(), 1);
    drop(again);
    assert_eq!((inner.open(), budget.balance()), (0, 3), "4 earned, 1 paid");
    assert_eq!(inner.attempts().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_concurrent_budget_is_whole_again_after_every_end() {
    let budget = Budget::concurrent(100.0, 0).unwrap();
    let layer = layer().budget(budget.clone());
    let inner = Scripted::new([grpc(14, &[]), Answer::Hang, grpc(14, &[]), grpc(0, &[])]);
    let mut hanging = task::spawn(send(&layer, &inner, call(&[])));
    assert_pending!(hanging.poll());
    advance(Duration::from_secs(1)).await;
    assert_pending!(hanging.poll());
    assert_eq!(budget.balance(), 0, "one request, one retry");
    assert!(send(&layer, &inner, call(&[])).await.is_ok());
    drop(hanging);
    assert_eq!(budget.balance(), 0, "no request, no retry");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_busy_between_attempts_is_waited_for() {
    let inner = Scripted::new([grpc(14, &[]), grpc(0, &[])]);
    let mut retry = layer().layer(inner.clone());
    std::future::poll_fn(|cx| Service::<Request<Frames>>::poll_ready(&mut retry, cx)).await.unwrap();
    inner.be_busy(0);
    let response = retry.call(call(&["x"]));
    inner.be_busy(3);
    assert_eq!(grpc_status(&response.await.unwrap()), Some("0"));
}

#[tokio::test(start_paused = true)]
async fn every_attempt_carries_the_same_memory_of_where_it_has_been() {
    let inner = Scripted::new([grpc(14, &[]), grpc(0, &[])]);
    send(&layer(), &inner, call(&[])).await.unwrap();
    let attempts = inner.attempts();
    assert!(attempts.iter().all(|attempt| attempt.extensions.get::<Tried>().is_some()));

    // One that a layer above brought is kept.
    let inner = Scripted::new([grpc(14, &[]), grpc(0, &[])]);
    let mut request = call(&[]);
    request.extensions_mut().insert(Tried::default());
    send(&layer(), &inner, request).await.unwrap();
    assert!(inner.attempts()[1].extensions.get::<Tried>().is_some());
}

fn table() -> Value {
    serde_json::from_str(include_str!("data/grpc_retry.json")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_number_of_attempts_has_a_cap_of_its_own() {
    for row in table()["max_call_attempts"].as_array().unwrap() {
        let number = |name: &str| row[name].as_i64().unwrap().max(0) as u32;
        let effective = number("effective");
        let inner = Scripted::new((0..effective).map(|_| grpc(14, &[])));
        let layer = layer().attempts(number("service_config")).at_most(number("client"));
        send(&layer, &inner, call(&[])).await.unwrap();
        assert_eq!(inner.attempts().len(), effective as usize, "{row}");
    }
    let inner = Scripted::new([grpc(14, &[])]);
    send(&layer().attempts(0), &inner, call(&[])).await.unwrap();
    assert_eq!(inner.attempts().len(), 1);
}

/// Through the layer.
#[tokio::test(start_paused = true)]
async fn the_throttle_gives_the_results_of_grpc_go() {
    let table = &table()["throttling"];
    let throttle = Budget::throttle(
        table["max_tokens"].as_u64().unwrap() as u32,
        table["token_ratio"].as_f64().unwrap(),
    );
    let attempts = table["max_attempts"].as_u64().unwrap() as u32;
    let layer = layer().attempts(attempts).budget(throttle.unwrap());
    let server_ok = table["server_ok_at_call_index"].as_array().unwrap();
    let inner =
        Scripted::new((0..19).map(|call| grpc(if server_ok.contains(&call.into()) { 0 } else { 14 }, &[])));
    for result in table["results"].as_array().unwrap() {
        let answer = send(&layer, &inner, call(&["x"])).await.unwrap();
        assert_eq!(grpc_status(&answer) == Some("0"), result["code"] == "OK", "{result}");
        assert_eq!(inner.attempts().len() - 1, result["last_call_index"].as_u64().unwrap() as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_an_attempt_is_repeated_and_one_of_the_call_is_not() {
    let inner = Scripted::new([Answer::Hang, status(200, &[]), Answer::Hang, Answer::Hang, Answer::Hang]);
    let client = ServiceBuilder::new()
        .layer(TimeoutLayer::per_call(Duration::from_secs(5)))
        .layer(layer().backoff(Backoff::constant(Duration::ZERO)))
        .layer(TimeoutLayer::per_attempt(Duration::from_secs(2)))
        .service(inner.clone());
    let began = Instant::now();
    assert!(client.clone().oneshot(get("/")).await.is_ok());
    assert_eq!(began.elapsed(), Duration::from_secs(2));

    let began = Instant::now();
    let error = client.oneshot(get("/")).await.unwrap_err();
    assert_eq!(error.to_string(), "the call took longer than 5s");
    assert!(error.is::<Elapsed>());
    assert_eq!((began.elapsed(), inner.open()), (Duration::from_secs(5), 0));
}

/// When the attempts of a client began that gives each its share of `time`, and how it ended.
async fn share(
    layer: RetryLayer,
    time: u64,
    inner: &Scripted,
    request: Request<Frames>,
) -> (Vec<u128>, String) {
    let (began, time) = (Instant::now(), Duration::from_millis(time));
    let client = ServiceBuilder::new()
        .layer(TimeoutLayer::per_call(time))
        .layer(layer.share_time())
        .layer(TimeoutLayer::per_attempt(Duration::from_secs(1)).shared())
        .service(inner.clone());
    let mut request = request;
    request.headers_mut().insert("grpc-timeout", micro_balance::grpc_timeout::encode(time));
    let error = client.oneshot(request).await.unwrap_err();
    (inner.attempts().iter().map(|attempt| (attempt.at - began).as_millis()).collect(), error.to_string())
}

#[tokio::test(start_paused = true)]
async fn attempts_that_hang_share_the_time_of_the_call() {
    let hang = || Scripted::new((0..5).map(|_| Answer::Hang));
    let waits = |ms| layer().backoff(Backoff::constant(Duration::from_millis(ms)));
    let (began, error) = share(waits(0), 900, &hang(), get("/")).await;
    assert_eq!(began, [0, 300, 600]);
    assert_eq!(error, "the call took longer than 900ms", "the last has all that is left");
    // A wait takes from those after it.
    assert_eq!(share(waits(100), 900, &hang(), get("/")).await.0, [0, 400, 750]);
    // What fails early leaves more to the others.
    let inner = Scripted::new([late(Duration::from_millis(100), 503, &[]), Answer::Hang, Answer::Hang]);
    assert_eq!(share(waits(0), 900, &inner, get("/")).await.0, [0, 100, 500]);
    // Nobody gets next to nothing, and nobody more than an attempt may have.
    assert_eq!(share(waits(0).attempts(5), 25, &hang(), get("/")).await.0, [0, 10, 20]);
    assert_eq!(share(waits(0), 9_000, &hang(), get("/")).await.0, [0, 1_000, 2_000]);
}

#[tokio::test(start_paused = true)]
async fn what_would_not_be_sent_again_has_all_of_the_time() {
    let post = Request::post("/").body(frames(&["x"])).unwrap();
    let long = Request::put("/").body(frames(&["0123456789"])).unwrap();
    for (layer, request) in [(layer(), post), (layer().attempts(1), get("/")), (layer(), call(&["x"]))] {
        let inner = Scripted::new([Answer::Hang]);
        let (began, error) = share(layer, 900, &inner, request).await;
        assert_eq!((&*began, &*error), (&[0][..], "the call took longer than 900ms"));
    }
    let inner = Scripted::new([Answer::Hang]);
    let request = long.map(|body| Sized(body, 10));
    let client = ServiceBuilder::new()
        .layer(TimeoutLayer::per_call(Duration::from_secs(2)))
        .layer(layer().keep(9).share_time().deadline(|| Some(Instant::now() + Duration::from_secs(3))))
        .layer(TimeoutLayer::per_attempt(Duration::MAX).shared())
        .service(inner);
    let began = Instant::now();
    assert!(client.oneshot(request).await.is_err());
    assert_eq!(began.elapsed(), Duration::from_secs(2), "too long a body to keep");
}

#[test]
fn what_handles_requests_is_shared_between_threads() {
    fn check<T: Clone + Send + Sync + 'static>() {}
    check::<RetryLayer>();
    check::<Retry<Scripted>>();
    fn sends<T: Send>(_: T) {}
    let retry = layer().layer(Scripted::default());
    sends(async move { retry.oneshot(call(&[])).await });
}
