//! `/registry`, as clients of go-micro's sidecar use it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::face::Face;
use crate::listen::Listening;
use crate::program::Place;

const RECORD: &[u8] = br#"{"Name":"foo.bar","Nodes":[{"Port":9091,"Address":"127.0.0.1","Id":"foo.bar-1"}]}"#;

#[test]
fn what_is_registered_is_found_until_it_is_deregistered() {
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &[]);
    let missing = face.get("/registry?service=foo.bar");
    assert_eq!((missing.status, missing.text().trim()), (404, "Service not found"));
    assert_eq!(face.get("/registry").json(), json!([]));

    let registered = face.ask("POST", "/registry", "content-type: application/json\r\n", RECORD);
    assert_eq!((registered.status, registered.text().as_str()), (200, ""));
    let found = face.get("/registry?service=foo.bar").json();
    assert_eq!(
        found[0]["nodes"][0],
        json!({"id":"foo.bar-1","address":"127.0.0.1","port":9091,"metadata":{}})
    );
    assert_eq!(face.get("/registry").json()[0]["name"], "foo.bar");

    assert_eq!(face.ask("DELETE", "/registry", "", RECORD).status, 200);
    assert_eq!(face.get("/registry?service=foo.bar").status, 404);
    assert_eq!(face.ask("DELETE", "/registry", "", RECORD).status, 200, "it is gone, as was asked");
}

#[test]
fn a_ttl_ends_what_is_not_repeated() {
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &[]);
    assert_eq!(face.ask("POST", "/registry?ttl=1s", "", RECORD).status, 200);
    assert_eq!(face.get("/registry?service=foo.bar").status, 200);
    let start = Instant::now();
    while face.get("/registry?service=foo.bar").status == 200 {
        assert!(start.elapsed() < Duration::from_secs(30), "it is still there");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &[]);
    for (method, path, body, status) in [
        ("POST", "/registry", &b"{"[..], 400),
        ("POST", "/registry", br#"{"name":"a"}"#, 400),
        ("POST", "/registry?ttl=soon", RECORD, 400),
        ("DELETE", "/registry", br#"{"name":"a"}"#, 400),
        ("PUT", "/registry", RECORD, 405),
        ("PATCH", "/registry", b"", 405),
        ("POST", "/health", b"", 405),
        ("PUT", "/broker?topic=t", b"", 405),
        ("GET", "/rpc", b"", 405),
        ("GET", "/nobody/there", b"", 404),
    ] {
        let answer = face.ask(method, path, "", body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    let document = face.get("/openapi.json");
    assert_eq!((document.status, document.json()["openapi"].as_str()), (200, Some("3.1.0")));
}

#[test]
fn whoever_watches_hears_of_changes() {
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &[]);
    let mut one = Listening::start(&face, "/registry?service=foo.bar&watch");
    let mut all = Listening::start(&face, "/registry?watch=1");
    assert_eq!((one.data(), all.data()), (json!([]), json!([])));
    assert_eq!(face.ask("POST", "/registry", "", RECORD).status, 200);
    assert_eq!(one.data()[0]["nodes"][0]["port"], 9091);
    assert_eq!(all.data()[0]["name"], "foo.bar");
}
