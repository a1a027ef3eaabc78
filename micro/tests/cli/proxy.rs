//! Every command through a sidecar: one of the test's own, over memory.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tonic::body::Body;
use tower::service_fn;

use crate::program::Place;

/// What the sidecar has heard beside records.
type Heard = Arc<Mutex<Vec<String>>>;

fn sidecar(runtime: &Runtime) -> (String, Heard) {
    let bound = runtime.block_on(micro_tower::Server::new().bind()).unwrap();
    let address = bound.local_address().to_string();
    let (records, heard): (Arc<Mutex<Vec<Value>>>, Heard) = Default::default();
    let told = heard.clone();
    let service = service_fn(move |request: Request<Body>| {
        let (records, heard) = (records.clone(), told.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let (status, text) = answer(&head.method, &head.uri, &body, &records, &heard);
            let mut response = Response::new(Full::new(Bytes::from(text)));
            *response.status_mut() = status;
            Ok::<_, Infallible>(response)
        }
    });
    runtime.spawn(bound.serve_until(service, std::future::pending()));
    (address, heard)
}

fn answer(
    method: &Method,
    uri: &http::Uri,
    body: &Bytes,
    records: &Mutex<Vec<Value>>,
    heard: &Mutex<Vec<String>>,
) -> (StatusCode, String) {
    let mut records = records.lock().unwrap();
    let json = || serde_json::from_slice::<Value>(body).unwrap();
    match (method.as_str(), uri.path(), uri.query().unwrap_or_default()) {
        ("GET", "/registry", "") => {
            let names: Vec<_> = records.iter().map(|record| record["name"].clone()).collect();
            (StatusCode::OK, json!(names).to_string())
        }
        ("GET", "/registry", query) => {
            let name = query.strip_prefix("service=").unwrap();
            let found: Vec<_> = records.iter().filter(|record| record["name"] == name).collect();
            if found.is_empty() {
                return (StatusCode::NOT_FOUND, "Service not found".to_owned());
            }
            (StatusCode::OK, json!(found).to_string())
        }
        ("POST", "/registry", _) => {
            records.push(json());
            (StatusCode::OK, String::new())
        }
        ("DELETE", "/registry", _) => {
            records.clear();
            (StatusCode::OK, String::new())
        }
        ("POST", "/rpc", _) if json()["method"] == "Greeter.Hello" => (
            StatusCode::OK,
            json!({"msg": format!("Hello {}", json()["request"]["name"].as_str().unwrap())}).to_string(),
        ),
        ("POST", "/rpc", _) if json()["method"] == "Greeter.Busy" => {
            let detail = "error during request: ABORTED: try again";
            let error = json!({"id": "go.micro.rpc", "code": 409, "detail": detail, "status": "Conflict"});
            (StatusCode::CONFLICT, error.to_string())
        }
        ("POST", "/rpc", _) => {
            let error = json!({"id": "go.micro.client", "code": 404, "detail": "no such method", "status": "Not Found"});
            (StatusCode::NOT_FOUND, error.to_string())
        }
        ("GET", "/broker", "topic=a.%3E.b") => {
            let detail = "the http broker rejects topic \"a.>.b\": it is none";
            let error =
                json!({"id": "go.micro.sidecar", "code": 400, "detail": detail, "status": "Bad Request"});
            (StatusCode::BAD_REQUEST, error.to_string())
        }
        ("POST", "/broker", query) => {
            heard.lock().unwrap().push(format!("{query} {}", String::from_utf8_lossy(body)));
            (StatusCode::OK, String::new())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
    }
}

#[test]
fn every_command_goes_through_the_sidecar() {
    let (runtime, place) = (Runtime::new().unwrap(), Place::new());
    let (address, heard) = sidecar(&runtime);
    let ok = |arguments: &[&str]| place.ok(&[arguments, &["--proxy", &address]].concat());
    ok(&["register", "greeter", "-a", "127.0.0.1:1", "--id", "a", "--ttl", "0"]);
    assert_eq!(ok(&["list", "services"]), "greeter\n");
    assert!(ok(&["get", "greeter"]).contains("127.0.0.1:1"));
    assert_eq!(
        ok(&["call", "greeter", "Greeter.Hello", "name=John", "-o", "json"]),
        "{\"msg\":\"Hello John\"}\n"
    );
    assert_eq!(ok(&["publish", "orders.created", "7"]), "ok\n");
    assert_eq!(*heard.lock().unwrap(), ["topic=orders.created 7"]);
    assert_eq!(place.ok(&["list"]), "", "nothing of it is in the registry here");
    let run = place.run(&["subscribe", "a.>.b", "--proxy", &address]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(
        run.err.starts_with("error: the sidecar broker rejects topic \"a.>.b\": it is none\n"),
        "{run:?}"
    );

    for flag in ["--emit-defaults", "--proto-names", "--enums-as-ints", "--allow-unknown", "--verbose"] {
        let run = place.run(&["call", "greeter", "Greeter.Hello", "{}", flag, "--proxy", &address]);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.err.starts_with(&format!("error: {flag} cannot be asked of a sidecar")), "{run:?}");
    }

    let run = place.run(&["call", "greeter", "Greeter.Bye", "--proxy", &address]);
    assert_eq!(run.code, Some(69), "{run:?}");
    assert!(run.err.contains("NOT_FOUND: no such method"), "{run:?}");
    let run = place.run(&["call", "greeter", "Greeter.Busy", "--proxy", &format!("http://{address}")]);
    assert_eq!(run.code, Some(74), "{run:?}");
    assert!(run.err.starts_with("error: ABORTED: try again\n"), "{run:?}");
    assert!(run.err.contains(&format!("in the registry http://{address}\n")), "{run:?}");
    let run = place.run(&["get", "nobody", "--proxy", &address]);
    assert_eq!(run.code, Some(3), "{run:?}");
    let mut variable = place.command(&["list", "services"]);
    assert_eq!(variable.env("MICRO_PROXY_ADDRESS", &address).output().unwrap().stdout, b"greeter\n");
    ok(&["deregister", "greeter", "--all"]);
    assert_eq!(ok(&["list", "services"]), "");
}

#[test]
fn a_web_server_is_told_from_a_sidecar() {
    let runtime = Runtime::new().unwrap();
    let bound = runtime.block_on(micro_tower::Server::new().bind()).unwrap();
    let address = bound.local_address().to_string();
    let page = service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("<html>"))))
    });
    runtime.spawn(bound.serve_until(page, std::future::pending()));
    let run = Place::new().run(&["list", "--proxy", &address]);
    assert_eq!(run.code, Some(6), "{run:?}");
    assert!(run.err.contains("what answers there is no sidecar"), "{run:?}");
}

#[test]
fn a_sidecar_that_is_not_there_is_unavailable() {
    let run = Place::new().run(&["list", "--proxy", "127.0.0.1:1"]);
    assert_eq!(run.code, Some(6), "{run:?}");
    assert!(run.err.contains("the sidecar registry cannot list"), "{run:?}");
}
