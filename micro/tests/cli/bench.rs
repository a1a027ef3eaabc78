//! Many calls, and how long they take.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::echo::Echo;
use crate::terminal::Terminal;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn as_many_calls_as_are_wanted_are_measured_by_endpoint() {
    let echo = Echo::new();
    let arguments = ["bench", "echo", "Echo.Unary", "text=hi", "--count", "200", "-o", "json"];
    let benched = json(&echo.place.ok(&arguments));
    assert_eq!((&benched["target"], &benched["method"]), (&"echo".into(), &"Echo.Unary".into()));
    assert_eq!((&benched["calls"], &benched["failed"]), (&200.into(), &0.into()), "{benched}");
    assert_eq!(benched["statuses"], serde_json::json!({ "OK": 200 }));
    let latency = |name: &str| benched["latency_ms"][name].as_f64().unwrap();
    assert!(latency("min") > 0.0 && latency("p50") <= latency("p99") && latency("p99") <= latency("max"));
    let endpoints = benched["endpoints"].as_array().unwrap();
    let counted: Vec<_> = endpoints.iter().map(|one| one["calls"].as_u64().unwrap()).collect();
    assert!(counted.len() == 2 && counted.iter().sum::<u64>() == 200, "{benched}");

    let shown = echo.place.ok(&["bench", "echo/Echo.Many", "number:=3", "-n", "20", "-c", "2"]);
    assert!(shown.starts_with("ENDPOINT  CALLS  FAILED  MIN"), "{shown}");
    assert!(
        shown.contains("\nall       20     0 ") && shown.contains("2 at a time at most: OK 20\n"),
        "{shown}"
    );
    let heads: Vec<_> = shown.lines().next().unwrap_or_default().split_whitespace().skip(5).collect();
    assert_eq!(heads, ["P50", "P90", "P95", "P99", "P99.9", "MAX"]);
    assert_eq!(echo.place.ok(&["bench", "echo", "Echo.Unary", "-n", "50", "-o", "name"]), "a\nb\n");
}

#[test]
fn the_time_of_a_call_counts_from_when_it_was_due() {
    let echo = Echo::new();
    // One at a time, each of 100 ms, of which one was due each 10 ms.
    let slow = ["bench", "echo", "Echo.Slow", "number:=100", "--concurrency", "1", "--duration", "1s"];
    let benched = json(&echo.place.ok(&[&slow[..], &["--rate", "100", "-o", "json"]].concat()));
    assert!(benched["calls"].as_u64().unwrap() <= 10, "{benched}");
    assert!(benched["missed"].as_u64().unwrap() >= 85, "{benched}");
    assert!(benched["latency_ms"]["max"].as_f64().unwrap() > 500.0, "{benched}");
    let shown = echo.place.ok(&[&slow[..], &["--rate", "100"]].concat());
    assert!(
        shown.contains("100 in a second were wanted, and ") && shown.contains(" did not begin"),
        "{shown}"
    );
}

#[test]
fn the_longest_time_and_the_lowest_rate_are_times_and_rates_too() {
    let echo = Echo::new();
    for (arguments, calls) in [
        (&["--duration", "18446744073709551615s", "--count", "3"][..], 3),
        (&["--rate", "1e-300", "--duration", "300ms", "--concurrency", "2"], 1),
    ] {
        let run = echo.place.run(&[&["bench", "echo", "Echo.Unary", "-o", "json"], arguments].concat());
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
        assert_eq!(json(&run.out)["calls"], calls, "{run:?}");
    }
}

#[test]
fn a_failed_call_is_in_the_exit_code() {
    let echo = Echo::new();
    let run = echo.place.run(&["bench", "echo", "Echo.Fail", "number:=5", "-n", "30", "-o", "json"]);
    assert_eq!(run.code, Some(69), "{run:?}");
    assert_eq!((&json(&run.out)["failed"], &json(&run.out)["latency_ms"]), (&30.into(), &Value::Null));
    assert!(run.err.contains("30 of 30 calls failed, most of them by NOT_FOUND"), "{run:?}");
    assert!(run.err.contains("try:   micro call echo Echo.Fail, which says why"), "{run:?}");

    // What is wrong with every call is said once, as a call says it.
    for (arguments, code, why) in [
        (&["ecko", "Echo.Unary"][..], 3, "there is no service \"ecko\""),
        (&["echo", "Echo.Unry"], 3, "try:   micro call echo test.v1.Echo/Unary"),
        (&["echo", "Echo.Unary", "nmber=1"], 2, "nmber"),
        (&["echo", "Echo.Unary", "--rate", "0"], 2, "a rate is a number of calls in a second"),
        (&["echo", "Echo.Unary", "--concurrency", "0"], 2, "--concurrency"),
        (&["echo", "Echo.Slow", "number:=60000", "--timeout", "100ms", "-n", "1"], 68, "DEADLINE_EXCEEDED"),
    ] {
        let began = Instant::now();
        let run = echo.place.run(&[&["bench"], arguments].concat());
        assert!(run.code == Some(code) && run.err.contains(why), "{arguments:?}: {run:?}");
        assert!(began.elapsed() < Duration::from_secs(9), "{arguments:?}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let run = echo.place.run(&["bench", &nobody, "Echo.Unary", "-n", "1"]);
    assert_eq!(run.code, Some(78), "{run:?}");
}

#[test]
fn a_word_to_stop_ends_it_with_what_was_measured() {
    let echo = Echo::new();
    let mut command = echo.place.command(&["bench", "echo", "Echo.Unary", "--duration", "1h"]);
    let mut terminal = Terminal::start(&mut command);
    // How far it is, on one line.
    terminal.until(" calls in 0 s, 0 failed\u{1b}[K");
    terminal.signal(Signal::INT);
    terminal.until("ENDPOINT");
    terminal.until("at a time at most: OK ");
    assert_eq!(terminal.end(), Some(0));
}
