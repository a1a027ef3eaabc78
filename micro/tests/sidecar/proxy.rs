//! Every command of the command line through a sidecar: `--proxy`.

use std::time::{Duration, Instant};

use micro::remote::Sidecar;
use micro_discover::{Endpoint, Error, Method, Registry as _, Service, Shape};

use crate::echo::echo;
use crate::face::Face;
use crate::program::Place;

#[test]
fn every_command_works_through_the_sidecar() {
    let (there, here) = (Place::new(), Place::new());
    let _echo = echo(&there);
    let face = Face::of(&there, "sidecar", &["--broker", "memory:"]);
    let proxy = face.address.to_string();
    let with = |arguments: &[&str]| [arguments, &["--proxy", &proxy]].concat().join("\n");
    let run = |arguments: &[&str]| here.run(&with(arguments).lines().collect::<Vec<_>>());
    let ok = |arguments: &[&str]| {
        let run = run(arguments);
        assert_eq!(run.code, Some(0), "{arguments:?}: {run:?}");
        run.out
    };
    let start = |arguments: &[&str]| here.start(&with(arguments).lines().collect::<Vec<_>>());

    let mut watch = start(&["watch", "greeter"]);
    ok(&["register", "greeter", "-a", "127.0.0.1:1", "--id", "a", "--ttl", "0"]);
    assert!(watch.line().starts_with("added    greeter  a  127.0.0.1:1"));
    assert_eq!(ok(&["list", "services"]), "echo\ngreeter\n");
    assert!(ok(&["get", "greeter"]).contains("127.0.0.1:1"));
    ok(&["deregister", "greeter", "--all"]);
    assert!(watch.line().starts_with("removed  greeter  a  127.0.0.1:1"));
    let gone = run(&["get", "greeter"]);
    assert_eq!(gone.code, Some(3), "{gone:?}");

    assert!(ok(&["describe", "echo"]).contains("rpc Chat(stream test.v1.Words)"));
    assert!(ok(&["health", "echo"]).contains("serving"));
    assert_eq!(ok(&["call", "echo", "Echo.Unary", "text=hi", "-o", "json"]), "{\"text\":\"hi\"}\n");
    let many = ok(&["stream", "echo", "Echo.Many", "number:=3", "-o", "json"]);
    assert_eq!(many, "{}\n{\"number\":\"1\"}\n{\"number\":\"2\"}\n");
    assert_eq!(
        ok(&["call", "echo", "Echo.Sum", "{\"number\":40}{\"number\":2}", "-o", "json"]),
        "{\"number\":\"42\"}\n"
    );
    let failed = run(&["call", "echo", "Echo.Fail", "number:=5"]);
    assert!(failed.code == Some(69) && failed.err.contains("NOT_FOUND: as you asked"), "{failed:?}");
    let mut subscriber = start(&["subscribe", "orders.*", "--count", "1", "-o", "json"]);
    let started = Instant::now();
    while !subscriber.has_ended() {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing was heard");
        assert_eq!(ok(&["publish", "orders.created", "{\"id\":7}", "-H", "x-tenant: a"]), "ok\n");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (status, out) = subscriber.end();
    assert_eq!(status.code(), Some(0));
    assert!(out.contains(r#""topic":"orders.created""#) && out.contains(r#""body":{"id":7}"#), "{out}");
    assert!(out.contains(r#""x-tenant":"a""#), "{out}");
    assert_eq!(here.ok(&["list"]), "", "nothing of it is in the registry here");
    watch.kill();
}

#[tokio::test]
async fn a_record_comes_through_the_sidecar_whole_and_is_there_no_longer_than_it_says() {
    let there = Place::new();
    let face = Face::of(&there, "sidecar", &["--broker", "memory:"]);
    let registry = Sidecar::new(&face.address.to_string()).unwrap();
    let mut method = Method::new("Greeter.Hello");
    method.request = Some(Shape::new("Request", "Request").value(Shape::new("name", "string")));
    let endpoint = Endpoint::new("a", "[::1]:80".parse().unwrap()).weight(5).zone("eu").priority(2);
    let service = Service::new("greeter").endpoint(endpoint).method(method);
    registry.announce(&service, Duration::from_millis(900)).await.unwrap();
    assert_eq!(registry.get("greeter").await.unwrap(), [service]);
    let gone = async {
        while !registry.get("greeter").await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("its time is over");
}

#[tokio::test]
async fn a_record_that_breaks_a_rule_is_not_announced_again_and_again_through_the_sidecar() {
    let there = Place::new();
    let face = Face::of(&there, "sidecar", &["--broker", "memory:"]);
    let registry = Sidecar::new(&face.address.to_string()).unwrap();
    let service = Service::new("a/b").endpoint(Endpoint::new("a", "127.0.0.1:1".parse().unwrap()));
    let refused = registry.announce(&service, Duration::from_secs(15)).await;
    assert!(matches!(&refused, Err(Error::Invalid { .. })), "{refused:?}");
}

#[test]
fn a_call_through_the_sidecar_fails_as_one_without_it_does() {
    let place = Place::new();
    let _echo = echo(&place);
    let face = Face::of(&place, "sidecar", &["--broker", "memory:"]);
    let proxy = face.address.to_string();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["Echo.Unry"], 3, "try:   micro call echo test.v1.Echo/Unary\n"),
        (&["Echo.Nothing"], 3, "there is no method \"Echo.Nothing\"\n"),
        (&["Echo.Nothing"], 3, "try:   one of test.v1.Echo/Unary, test.v1.Echo/Many, "),
        (&["Echo.Unary", "nmber=1"], 2, "error: the request is wrong: not the JSON of test.v1.Words: "),
        (&["Echo.Unary", "number=x"], 2, "try:   micro describe echo Echo.Unary\n"),
        (&["Echo.Sum", "{\"number\":1}{\"number\":\"x\"}"], 2, "error: the request is wrong: document 2: "),
        (&["Echo.Unary", "{}{}"], 2, "takes one message, and there are more\n"),
        (&["Echo.Fail", "number:=5"], 69, "error: NOT_FOUND: as you asked\n"),
        (&["Echo.Slow", "number:=60000", "--timeout", "1s"], 68, "error: DEADLINE_EXCEEDED"),
    ];
    for (asked, code, why) in cases {
        for through in [&[][..], &["--proxy", &proxy]] {
            let run = place.run(&[&["call", "echo"], asked, through].concat());
            assert_eq!(run.code, Some(code), "{asked:?} {through:?}: {run:?}");
            assert!(run.err.contains(why), "{asked:?} {through:?}: {run:?}");
        }
    }
}

#[test]
fn a_sidecar_is_asked_for_an_endpoint_by_its_address_and_for_no_stranger() {
    let place = Place::new();
    let _echo = echo(&place);
    let face = Face::of(&place, "sidecar", &["--broker", "memory:"]);
    let proxy = face.address.to_string();
    let record = place.ok(&["get", "echo", "-o", "json", "--fields", "endpoints"]);
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let address = record.pointer("/0/endpoints/0/address").and_then(|address| address.as_str()).unwrap();
    let call = |arguments: &[&str]| place.run(&[&["call"], arguments, &["--proxy", &proxy]].concat());
    let run = call(&["echo", "Echo.Unary", "text=hi", "--address", address, "-o", "json"]);
    assert_eq!((run.code, run.out.as_str()), (Some(0), "{\"text\":\"hi\"}\n"), "{run:?}");
    let run = call(&["echo", "Echo.Unary", "--address", "127.0.0.1:1"]);
    assert!(run.code == Some(3) && run.err.contains("has no endpoint \"127.0.0.1:1\""), "{run:?}");
    let run = call(&[address, "Echo.Unary"]);
    assert!(run.code == Some(2) && run.err.contains("a sidecar calls services by their names"), "{run:?}");
}
