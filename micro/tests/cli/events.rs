//! Publishing and subscribing, over the broker that needs no server.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::program::{Place, Running};
use crate::terminal::Terminal;

/// Publishes until `subscriber` has heard it: it may not listen yet.
fn heard(place: &Place, subscriber: &mut Running, publish: &[&str]) -> String {
    let started = Instant::now();
    while !subscriber.has_ended() {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing was heard");
        let said = place.ok(publish);
        assert!(said.lines().all(|line| line == "ok") && !said.is_empty(), "{said}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (status, out) = subscriber.end();
    assert_eq!(status.code(), Some(0));
    out
}

#[test]
fn who_waits_at_a_terminal_for_an_event_sees_that_it_waits() {
    let place = Place::new();
    let mut terminal = Terminal::start(&mut place.command(&["subscribe", "orders.*"]));
    terminal.until("waiting for ");
    let seen = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // It may not listen yet.
        scope.spawn(|| {
            while !seen.load(Relaxed) {
                place.ok(&["publish", "orders.created", "7"]);
            }
        });
        terminal.until("orders.created  7");
        seen.store(true, Relaxed);
    });
    terminal.signal(Signal::INT);
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn what_is_published_is_heard_with_its_headers() {
    let place = Place::new();
    let mut subscriber = place.start(&["subscribe", "orders.*", "--count", "1", "-o", "json"]);
    let publish = ["publish", "orders.created", r#"{"id": 7}"#, "-H", "x-tenant: a"];
    let out = heard(&place, &mut subscriber, &publish);
    assert!(out.contains(r#""topic":"orders.created""#), "{out}");
    assert!(out.contains(r#""x-tenant":"a""#) && out.contains(r#""body":{"id":7}"#), "{out}");
}

/// R27 of go-micro: publishing changes the headers that it was given.
#[test]
fn what_is_published_again_is_what_was_published_first() {
    let place = Place::new();
    let mut subscriber = place.start(&["subscribe", "orders.*", "--count", "3", "-o", "json"]);
    let publish = ["publish", "orders.created", r#"{"id": 7}"#, "-H", "x-tenant: a", "--count", "3"];
    let out = heard(&place, &mut subscriber, &publish);
    let events: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 3);
    for event in events {
        assert_eq!(event["headers"], serde_json::json!({ "x-tenant": "a" }), "{event}");
        assert_eq!(event["body"], serde_json::json!({ "id": 7 }), "{event}");
    }
}

#[test]
fn a_subscriber_that_has_ended_is_registered_no_more() {
    let place = Place::new();
    let mut subscriber = place.start(&["subscribe", "orders.created", "--count", "1"]);
    heard(&place, &mut subscriber, &["publish", "orders.created", "hello"]);
    assert_eq!(place.ok(&["list", "-o", "name"]), "");

    let mut subscriber = place.start(&["subscribe", "orders.created"]);
    while place.ok(&["list", "-o", "name"]).is_empty() {
        assert!(!subscriber.has_ended(), "it does not listen");
    }
    subscriber.signal(Signal::INT);
    assert_eq!(subscriber.end().0.code(), Some(0));
    assert_eq!(place.ok(&["list", "-o", "name"]), "");
}

#[test]
fn for_people_an_event_is_a_line() {
    let place = Place::new();
    let mut subscriber = place.start(&["subscribe", "orders.created", "--count", "1", "--broker", "http:"]);
    assert_eq!(
        heard(&place, &mut subscriber, &["publish", "orders.created", "hello", "world"]),
        "orders.created  hello world\n"
    );
}

#[test]
fn what_is_no_topic_or_no_message_is_a_usage_error() {
    let place = Place::new();
    for (arguments, why) in [
        (&["publish", "orders"][..], "error: require topic and message"),
        (&["publish", "a..b", "x"], "topic"),
        (&["subscribe", "a.>.b"], "is the last word"),
        (&["publish", "a", "x", "--broker", "nosuch:"], "nosuch"),
    ] {
        let run = place.run(arguments);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{run:?}");
        assert!(run.err.contains(why), "{run:?}");
    }
}

#[test]
fn a_message_is_bytes_whatever_they_mean() {
    let place = Place::new();
    let mut subscriber = place.start(&["subscribe", "pictures", "--count", "1", "-o", "json"]);
    std::fs::write(place.path("picture"), b"\xff\x00\x1b[31m").unwrap();
    let file = format!("@{}", place.path("picture").display());
    let out = heard(&place, &mut subscriber, &["publish", "pictures", &file]);
    assert!(out.contains(r#""body_base64":"/wAbWzMxbQ==""#), "{out}");
}
