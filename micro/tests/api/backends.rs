//! The gateway over real registries, which the test starts, stops and starts again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::face::Face;
use crate::program::Place;
use crate::servers::{self, Server};
use crate::service::Services;
use crate::shop;

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < Duration::from_secs(90), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until the registry answers.
fn up(place: &Place, server: &Server) {
    wait_until("the registry does not come up", || {
        place.run(&["list", "--registry", &server.url]).code == Some(0)
    });
}

fn paths_and_rpc_work_over(server: &Server) {
    let place = Place::new();
    up(&place, server);
    let services = Services::over(&server.url);
    for name in ["go.micro.api.foo", "go.micro.api.v1.foo", "bar"] {
        services.mirror(name);
    }
    let address = shop::open(&services).to_string();
    let face = Face::start(&place, &["--registry", &server.url]);
    for (path, expected) in [
        ("/foo", "go.micro.api.foo: GET /foo\n"),
        ("/foo/bar?a=b&c=%2F", "go.micro.api.foo: GET /foo/bar?a=b&c=%2F\n"),
        ("/v1/foo/bar/baz", "go.micro.api.v1.foo: GET /v1/foo/bar/baz\n"),
        ("/bar/x", "bar: GET /bar/x\n"),
    ] {
        // A registry may take a moment to believe that a service is well.
        wait_until(path, || face.get(path).text().starts_with(expected));
    }
    assert_eq!(face.get("/unknown/x").status, 404);
    let rpc = |body: serde_json::Value| {
        face.ask("POST", "/rpc", "content-type: application/json\r\n", body.to_string().as_bytes())
    };
    let asked =
        json!({"service": "shop", "method": "Shop.Plain", "request": {"count": "3"}, "address": address});
    wait_until("the shop is not called", || rpc(asked.clone()).text() == r#"{"count":"3"}"#);
    assert_eq!(rpc(json!({"service": "unknown", "method": "A.B"})).status, 404);
    let kind = "content-type: application/json\r\n";
    assert_eq!(face.ask("POST", "/shop/shop/plain", kind, b"{\"name\":\"a\"}").text(), r#"{"name":"a"}"#);
    wait_until("the methods' own routes do not hold", || face.get("/v1/items/a").status == 200);
}

#[test]
fn paths_and_rpc_work_over_etcd() {
    if let Some(server) = servers::etcd() {
        paths_and_rpc_work_over(&server);
    }
}

#[test]
fn paths_and_rpc_work_over_consul() {
    if let Some(server) = servers::consul() {
        paths_and_rpc_work_over(&server);
    }
}

#[test]
fn no_request_fails_while_the_registry_is_away_and_it_is_heard_again_afterwards() {
    let Some(mut server) = servers::etcd() else { return };
    let place = Place::new();
    up(&place, &server);
    let services = Services::over(&server.url);
    services.mirror("foo");
    let face = Face::start(&place, &["--registry", &server.url]);
    wait_until("the service is not found", || face.get("/foo/x").status == 200);
    let (enough, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failed = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut failed = Vec::new();
            while !enough.load(Relaxed) {
                let answer = face.get("/foo/x");
                if answer.status != 200 {
                    failed.push(answer);
                }
                answered.fetch_add(1, Relaxed);
            }
            failed
        });
        let requests = |more: usize| {
            let before = answered.load(Relaxed);
            wait_until("no request is answered", || answered.load(Relaxed) >= before + more);
        };
        requests(50);
        server.kill();
        requests(200);
        server.restart();
        up(&place, &server);
        services.mirror("bar");
        wait_until("what came afterwards is not found", || face.get("/bar/x").status == 200);
        requests(50);
        enough.store(true, Relaxed);
        load.join().unwrap()
    });
    assert!(failed.is_empty(), "{} of {answered:?}: {:?}", failed.len(), failed.first());
}
