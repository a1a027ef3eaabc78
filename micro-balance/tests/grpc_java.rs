//! Retries, throttling and hedges beside the rows that grpc-java tests of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use std::time::Duration;

use http::Response;
use micro_balance::{
    NotSent, Repeatable,
    hedge::HedgeLayer,
    retry::{Backoff, Budget, Jitter, RetryLayer, When},
};
use scripted::*;
use serde_json::Value;
use tower::ServiceExt;
use tower_layer::Layer;

const SECOND: Duration = Duration::from_secs(1);
const PUSHBACK: &str = "grpc-retry-pushback-ms";

fn table(name: &str) -> Value {
    serde_json::from_str::<Value>(include_str!("data/grpc_java_retry.json")).unwrap()[name].take()
}

/// An answer of nothing but this code, and what its server says of another attempt.
fn coded(code: &Value, pushback: Option<&str>) -> Answer {
    let said: Vec<_> = pushback.map(|value| (PUSHBACK, value)).into_iter().collect();
    grpc(code.as_u64().unwrap() as u16, &said)
}

fn starts(inner: &Scripted) -> Vec<Duration> {
    let attempts = inner.attempts();
    attempts.iter().map(|attempt| attempt.at - attempts[0].at).collect()
}

fn code<B>(answer: &Response<B>) -> &str {
    answer.headers()["grpc-status"].to_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn waits_grow_and_begin_anew_after_a_servers_own_as_in_grpc_java() {
    let table = table("waits");
    let ms = |name: &str| Duration::from_millis(table[name].as_u64().unwrap());
    let backoff = Backoff::exponential(ms("initial_ms"), table["multiplier"].as_f64().unwrap(), ms("max_ms"));
    let attempts = table["attempts"].as_u64().unwrap() as u32;
    let layer = RetryLayer::new()
        .attempts(attempts)
        .at_most(attempts)
        .when(When::never().code(14).code(15))
        .backoff(backoff.unwrap().jitter(Jitter::None))
        .budget(Budget::endless());
    for case in table["cases"].as_array().unwrap() {
        let codes = case["codes"].as_array().unwrap();
        let pushback = |place: usize| case["pushback"][place.to_string()].as_str();
        let inner = Scripted::new(codes.iter().enumerate().map(|(place, code)| coded(code, pushback(place))));
        layer.layer(inner.clone()).oneshot(call(&["x"])).await.unwrap();
        let waits: Vec<_> = starts(&inner).windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
        // Nobody is waited for longer than five minutes because he says so.
        let at_most = |(place, wait): (usize, &Value)| {
            let wait = u128::from(wait.as_u64().unwrap());
            if pushback(place).is_some() { wait.min(300_000) } else { wait }
        };
        let expected: Vec<_> = case["waits_ms"].as_array().unwrap().iter().enumerate().map(at_most).collect();
        assert_eq!(waits, expected, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_call_costs_the_throttle_is_what_it_costs_grpc_javas() {
    let table = table("throttle");
    let throttle = || {
        let tokens = table["max_tokens"].as_u64().unwrap() as u32;
        Budget::throttle(tokens, table["token_ratio"].as_f64().unwrap()).unwrap()
    };
    let layer = RetryLayer::new().when(When::never().code(14));
    for case in table["calls_after_a_failure"].as_array().unwrap() {
        let budget = throttle();
        budget.failed();
        // Theirs sends again what a server asks for, whatever its code; ours and grpc-go's by its code alone.
        let inner = Scripted::new([coded(&case["code"], case["pushback"].as_str())]);
        layer.clone().budget(budget.clone()).layer(inner.clone()).oneshot(call(&["x"])).await.unwrap();
        // 3.8 tokens, less one, are more than two; 2.8 are not.
        budget.succeeded();
        let lets_through = case["tokens"].as_u64() == Some(3);
        assert_eq!((inner.attempts().len(), budget.withdraw()), (1, lets_through), "{case}");
    }
    // A call that goes well earns: of 1 token one makes 1.8 and two make 2.6.
    for (calls, lets_through) in [(1, false), (2, true)] {
        let budget = throttle();
        (0..3).for_each(|_| budget.failed());
        for _ in 0..calls {
            let inner = Scripted::new([grpc(0, &[])]);
            layer.clone().budget(budget.clone()).layer(inner).oneshot(call(&["x"])).await.unwrap();
        }
        budget.succeeded();
        assert_eq!(budget.withdraw(), lets_through);
    }
}

/// Of grpc-java, and of grpc-go, only the first attempt is sent again for nothing; of gRPC core, whichever it is.
#[tokio::test(start_paused = true)]
async fn what_is_turned_away_unread_after_a_retry_is_sent_again_for_nothing_as_by_grpc_core() {
    let refused = || fail(NotSent::refused("REFUSED_STREAM"));
    let inner = Scripted::new([grpc(14, &[]), refused(), refused(), grpc(0, &[])]);
    let layer = RetryLayer::new().attempts(3).backoff(Backoff::constant(SECOND)).budget(Budget::endless());
    layer.layer(inner.clone()).oneshot(call(&["x"])).await.unwrap();
    let attempts = inner.attempts();
    let before: Vec<_> =
        attempts.iter().map(|attempt| attempt.header("grpc-previous-rpc-attempts")).collect();
    assert_eq!(before, [None, Some("1"), Some("1"), Some("2")]);
    assert_eq!(starts(&inner), [0, 1, 1, 2].map(|seconds| seconds * SECOND));
}

fn hello() -> http::Request<Frames> {
    let mut request = call(&["x"]);
    request.extensions_mut().insert(Repeatable);
    request
}

/// What a server says of the next hedge goes before the delay, be it more or less; a fatal answer ends all.
#[tokio::test(start_paused = true)]
async fn hedges_are_put_off_and_brought_forward_as_in_grpc_java() {
    let table = table("hedging");
    let times = |name: &str| -> Vec<_> {
        table[name].as_array().unwrap().iter().map(|ms| Duration::from_millis(ms.as_u64().unwrap())).collect()
    };
    let inner = Scripted::default();
    for (after, pushback) in times("fail_after_ms").into_iter().zip(table["pushback"].as_array().unwrap()) {
        let Answer::Respond(answer) = grpc(14, &[(PUSHBACK, pushback.as_str().unwrap())]) else { panic!() };
        inner.push(Answer::Late(after, answer));
    }
    inner.push(Answer::Hang);
    inner.push(grpc(13, &[]));
    let layer = HedgeLayer::after(Duration::from_millis(table["delay_ms"].as_u64().unwrap()))
        .attempts(5)
        .budget(Budget::endless())
        .non_fatal(When::never().code(14).code(15));
    let answer = layer.layer(inner.clone()).oneshot(hello()).await.unwrap();
    assert_eq!(starts(&inner), times("starts_ms"));
    assert_eq!((code(&answer), inner.open()), ("13", 0));
}

/// All are sent though one of them has failed meanwhile, and the one that is left answers.
#[tokio::test(start_paused = true)]
async fn of_many_hedges_that_fail_the_one_that_is_left_answers() {
    let failure = |after: u32| {
        let Answer::Respond(answer) = grpc(14, &[]) else { panic!() };
        Answer::Late(after * SECOND, answer)
    };
    let inner =
        Scripted::new([failure(410), failure(210), Answer::Wait(450 * SECOND), failure(120), failure(20)]);
    let layer = HedgeLayer::after(100 * SECOND).attempts(5).budget(Budget::endless());
    layer.layer(inner.clone()).oneshot(hello()).await.unwrap();
    assert_eq!(starts(&inner), [0, 100, 200, 300, 400].map(|seconds| seconds * SECOND));
    assert_eq!(inner.open(), 0);
}
