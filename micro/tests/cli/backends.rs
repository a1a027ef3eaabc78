//! The same commands over real registries, which the test starts and stops.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::program::Place;
use crate::servers;

fn every_command_works_over(url: &str) {
    let place = Place::new();
    let registry = ["--registry", url];
    let started = Instant::now();
    while place.run(&[&["list"][..], &registry].concat()).code != Some(0) {
        assert!(started.elapsed() < Duration::from_secs(60), "{url} does not come up");
        std::thread::sleep(Duration::from_millis(100));
    }

    let mut watch = place.start(&[&["watch", "greeter"][..], &registry].concat());
    let register =
        ["register", "greeter", "--address", "127.0.0.1:1", "--id", "a", "--version", "1.0", "--zone", "eu"];
    let mut held = place.start(&[&register[..], &registry].concat());
    assert_eq!(held.line(), "registered greeter  a  127.0.0.1:1");
    assert_eq!(watch.line(), "added    greeter  a  127.0.0.1:1  zone=eu");
    let listed = place.ok(&[&["list"][..], &registry].concat());
    assert_eq!(listed, "NAME     VERSIONS  ENDPOINTS\ngreeter  1.0       1\n");
    let record = place.ok(&[&["get", "greeter", "--output", "json"][..], &registry].concat());
    assert!(record.contains("\"id\": \"a\"") && record.contains("\"zone\": \"eu\""), "{record}");
    let run = place.run(&[&["get", "greter"][..], &registry].concat());
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.err.contains("try:   micro get greeter"), "{run:?}");

    held.signal(Signal::INT);
    let (status, rest) = held.end();
    assert_eq!((status.code(), rest.as_str()), (Some(0), "deregistered greeter  a  127.0.0.1:1\n"));
    assert_eq!(watch.line(), "removed  greeter  a  127.0.0.1:1  zone=eu");
    assert_eq!(place.ok(&[&["list"][..], &registry].concat()), "");

    // What is found there is called there.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = runtime.block_on(crate::peer::serve("a", crate::peer::Reflection::V1));
    let echo = ["register", "echo", "--address", &address, "--id", "a", "--ttl", "0"];
    place.ok(&[&echo[..], &registry].concat());
    let call = ["call", "echo", "Echo.Unary", "text=hi", "--output", "json"];
    assert_eq!(place.ok(&[&call[..], &registry].concat()), "{\"text\":\"hi\"}\n");
    let stream = ["stream", "echo", "Echo.Many", "number:=3", "--output", "json"];
    assert_eq!(place.ok(&[&stream[..], &registry].concat()).lines().count(), 3);
    assert!(place.ok(&[&["health", "echo"][..], &registry].concat()).contains("serving"));
    place.ok(&[&["deregister", "echo", "--all"][..], &registry].concat());

    place.ok(&[&register[..], &["--ttl", "0"], &registry].concat());
    place.ok(&[&["deregister", "greeter", "--id", "a"][..], &registry].concat());
    assert_eq!(place.ok(&[&["list"][..], &registry].concat()), "");
}

#[test]
fn every_command_works_over_etcd() {
    if let Some(server) = servers::etcd() {
        every_command_works_over(&server.url);
    }
}

#[test]
fn every_command_works_over_consul() {
    if let Some(server) = servers::consul() {
        every_command_works_over(&server.url);
    }
}

#[cfg(feature = "nats")]
#[test]
fn every_command_works_over_nats() {
    if let Some(server) = servers::nats() {
        every_command_works_over(&server.url);
    }
}

#[test]
fn a_server_that_is_not_there_is_unavailable_and_no_secret_is_repeated() {
    let place = Place::new();
    for url in ["etcd://user:hunter2@127.0.0.1:1", "consul://127.0.0.1:1?token=hunter2"] {
        let run = place.run(&["list", "--registry", url]);
        assert_eq!((run.code, run.out.as_str()), (Some(6), ""), "{run:?}");
        assert!(run.err.contains("tried: to list services, in the registry "), "{run:?}");
        assert!(run.err.contains("Connection refused") && !run.err.contains("hunter2"), "{run:?}");
    }
}
