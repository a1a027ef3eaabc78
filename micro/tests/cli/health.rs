//! Health checks of real servers.

use std::convert::Infallible;
use std::future::pending;
use std::net::TcpListener;

use http::{Request, Response};
use micro_tower::Server;
use tokio::runtime::Runtime;
use tonic::body::Body;
use tonic_health::ServingStatus;
use tower::service_fn;

use crate::program::{Place, Run};

const GREETER: &str = "greeter.Greeter";

/// A server that serves, but whose gRPC service greeter.Greeter is as `status` says; and registers it.
fn serve(runtime: &Runtime, place: &Place, id: &str, status: ServingStatus) {
    let bound = runtime.block_on(Server::new().address(([127, 0, 0, 1], 0).into()).bind()).unwrap();
    register(place, id, &bound.local_address().to_string());
    runtime.block_on(bound.health_reporter().set_service_status(GREETER, status));
    let nothing = service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    runtime.spawn(async move { bound.serve_until(nothing, pending()).await });
}

fn register(place: &Place, id: &str, address: &str) {
    place.ok(&["register", "greeter", "--address", address, "--id", id, "--ttl", "0"]);
}

fn states(run: &Run) -> Vec<(String, String)> {
    let checked: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    checked.as_array().unwrap().iter().map(|c| (text(&c["id"]), text(&c["state"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(id, state)| ((*id).to_owned(), (*state).to_owned())).collect()
}

#[test]
fn a_service_whose_endpoints_all_serve_is_well() {
    let (runtime, place) = (Runtime::new().unwrap(), Place::new());
    serve(&runtime, &place, "a", ServingStatus::Serving);
    serve(&runtime, &place, "b", ServingStatus::Serving);
    let run = place.run(&["health", "greeter", "--timeout", "30s"]);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    let lines: Vec<_> = run.out.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("ENDPOINT  ADDRESS"), "{run:?}");
    for line in &lines[1..] {
        assert!(line.contains("  latest   serving  ") && line.contains(" ms  "), "{line}");
    }
}

#[test]
fn a_script_waits_until_every_endpoint_serves() {
    let (runtime, place) = (Runtime::new().unwrap(), Place::new());
    let mut waiting = place.start(&["health", "greeter", "--wait", "10m", "-o", "name"]);
    serve(&runtime, &place, "a", ServingStatus::Serving);
    let (status, out) = waiting.end();
    assert_eq!((status.code(), out.as_str()), (Some(0), "a\n"));

    register(&place, "closed", "127.0.0.1:1");
    let mut waiting = place.start(&["health", "greeter", "--wait", "10m", "-o", "name"]);
    assert!(!waiting.has_ended());
    place.ok(&["deregister", "greeter", "--id", "closed"]);
    assert_eq!(waiting.end().0.code(), Some(0));

    register(&place, "closed", "127.0.0.1:1");
    let run = place.run(&["health", "greeter", "--wait", "1s"]);
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.out.contains("unreachable") && run.err.contains("error: 1 of 2 endpoints"), "{run:?}");
}

#[test]
fn every_way_to_be_unwell_has_its_word_and_the_command_fails() {
    let (runtime, place) = (Runtime::new().unwrap(), Place::new());
    serve(&runtime, &place, "a-serving", ServingStatus::Serving);
    serve(&runtime, &place, "b-draining", ServingStatus::NotServing);
    // Nobody listens on port 1.
    register(&place, "c-closed", "127.0.0.1:1");
    // Takes connections and says nothing, for ever.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    register(&place, "d-silent", &silent.local_addr().unwrap().to_string());
    register(&place, "e-other", "pigeon://loft");

    let arguments = ["health", "greeter", "--service", GREETER, "--output", "json", "--timeout", "3s"];
    let run = place.run(&arguments);
    assert_eq!(run.code, Some(3), "{run:?}");
    let expected = [
        ("a-serving", "serving"),
        ("b-draining", "not_serving"),
        ("c-closed", "unreachable"),
        ("d-silent", "timeout"),
        ("e-other", "unreachable"),
    ];
    assert_eq!(states(&run), pairs(&expected), "{run:?}");
    assert!(run.err.starts_with("error: 4 of 5 endpoints of \"greeter\" do not serve\ntried: "), "{run:?}");
    assert!(
        run.out.contains("Connection refused") && run.out.contains("there is no transport for pigeon://"),
        "{run:?}"
    );
}

#[test]
fn a_grpc_service_that_the_server_does_not_have_is_unknown() {
    let (runtime, place) = (Runtime::new().unwrap(), Place::new());
    serve(&runtime, &place, "a", ServingStatus::Serving);
    let run =
        place.run(&["health", "greeter", "--service", "no.Such", "--output", "json", "--timeout", "30s"]);
    assert_eq!(run.code, Some(3), "{run:?}");
    assert_eq!(states(&run), pairs(&[("a", "service_unknown")]), "{run:?}");
}
