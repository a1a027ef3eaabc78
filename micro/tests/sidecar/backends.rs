//! The sidecar over real registries, which the test starts and stops.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::echo::echo_in;
use crate::face::Face;
use crate::listen::Listening;
use crate::program::Place;
use crate::servers::{self, Server};

const RECORD: &[u8] = br#"{"name":"foo.bar","nodes":[{"port":9091,"address":"127.0.0.1","id":"foo.bar-1"}]}"#;

fn until(face: &Face, path: &str, status: u16) {
    let started = Instant::now();
    while face.get(path).status != status {
        assert!(started.elapsed() < Duration::from_secs(60), "{path} is never {status}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn everything_works_over(server: &Server) {
    let place = Place::new();
    let started = Instant::now();
    while place.run(&["list", "--registry", &server.url]).code != Some(0) {
        assert!(started.elapsed() < Duration::from_secs(60), "{} does not come up", server.url);
        std::thread::sleep(Duration::from_millis(100));
    }
    let _echo = echo_in(&server.url);
    let mut face = Face::of(&place, "sidecar", &["--registry", &server.url, "--broker", "memory:"]);
    assert_eq!(face.get("/registry?service=foo.bar").status, 404);
    let mut heard = Listening::start(&face, "/registry?service=foo.bar&watch");
    assert_eq!(heard.data(), json!([]));
    assert_eq!(face.ask("POST", "/registry", "", RECORD).status, 200);
    while heard.data()[0]["nodes"][0]["id"] != "foo.bar-1" {}
    until(&face, "/registry?service=foo.bar", 200);
    let found = face.get("/registry?service=foo.bar").json();
    assert_eq!(found[0]["nodes"][0]["port"], 9091, "{found}");
    let listed = face.get("/registry").json();
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|record| record["name"].as_str()).collect();
    assert!(names.contains(&Some("foo.bar")) && names.contains(&Some("echo")), "{listed}");

    let kind = "content-type: application/json\r\n";
    let rpc = br#"{"service":"echo","method":"Echo.Unary","request":{"text":"hi"}}"#;
    let started = Instant::now();
    while face.ask("POST", "/rpc", kind, rpc).text() != r#"{"text":"hi"}"# {
        assert!(started.elapsed() < Duration::from_secs(60), "echo is not called");
    }
    assert_eq!(face.ask("POST", "/echo/unary", kind, br#"{"text":"hi"}"#).text(), r#"{"text":"hi"}"#);
    assert_eq!(face.ask("DELETE", "/registry", "", RECORD).status, 200);
    until(&face, "/registry?service=foo.bar", 404);

    // What was registered through it goes with it.
    assert_eq!(face.ask("POST", "/registry", "", RECORD).status, 200);
    face.signal(rustix::process::Signal::TERM);
    assert_eq!(face.end().0, Some(0));
    assert_eq!(place.run(&["get", "foo.bar", "--registry", &server.url]).code, Some(3));
}

#[test]
fn everything_works_over_etcd() {
    if let Some(server) = servers::etcd() {
        everything_works_over(&server);
    }
}

#[test]
fn everything_works_over_consul() {
    if let Some(server) = servers::consul() {
        everything_works_over(&server);
    }
}
