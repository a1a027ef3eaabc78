//! What names the service of a request, where `--resolver` says it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use micro_discover::Service as Record;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::face::{Answer, Face};
use crate::program::Place;
use crate::service::{Services, grpc_body};
use crate::shop;

const JSON: &str = "content-type: application/json\r\n";

/// One request for `host`.
fn at(face: &Face, host: &str, line: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
    );
    Answer::of(&face.say([head.as_bytes(), body.as_bytes()].concat()))
}

fn backend(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, answer.header("x-backend"))
}

/// Before that it would be a web server, to which anything goes as it is.
fn until_its_routes_are_known(face: &Face, host: &str) {
    let began = Instant::now();
    while at(face, host, "GET /v1/items/x", "", "").header("content-type") != Some("application/json") {
        assert!(began.elapsed() < Duration::from_secs(30), "{host}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_host_is_a_service_and_the_whole_path_its_own() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("one");
    services.mirror("go.micro.api.two");
    services.mirror("three.example.com");
    let face = Face::start(&place, &["--resolver", "host"]);
    for (host, line, said) in [
        ("one", "GET /two/a?b", "one: GET /two/a?b\n"),
        ("one:8080", "GET /", "one: GET /\n"),
        ("ONE", "DELETE /v1/x/y/z/w", "one: DELETE /v1/x/y/z/w\n"),
        ("two", "GET /one/x", "go.micro.api.two: GET /one/x\n"),
        ("go.micro.api.two", "GET /x", "go.micro.api.two: GET /x\n"),
        ("Three.example.com", "GET /x.html", "three.example.com: GET /x.html\n"),
        // What would be a method of gRPC's elsewhere is a page of a web server's.
        ("one", "POST /v1.0/users", "one: POST /v1.0/users\n"),
    ] {
        let answer = at(&face, host, line, JSON, "{}");
        assert!(answer.text().starts_with(said), "{host} {line}: {answer:?}");
    }
    for (host, why) in [
        ("nobody", "nobody"),
        ("127.0.0.1:8080", "the host names no service"),
        ("[::1]:80", "the host names no service"),
    ] {
        let answer = at(&face, host, "GET /one/x", "", "");
        assert_eq!(answer.status, 404, "{host}: {answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(why), "{host}: {answer:?}");
    }
}

#[test]
fn services_at_their_hosts_may_have_the_same_methods_and_routes() {
    let place = Place::new();
    let services = Services::new(&place);
    shop::open(&services);
    shop::open_as(&services, "store");
    services.mirror("page");
    let face = Face::start(&place, &["--resolver", "host"]);
    for host in ["shop", "store"] {
        until_its_routes_are_known(&face, host);
    }
    for name in ["shop", "store"] {
        for line in [
            "GET /v1/items/x",
            "PUT /v1/items/x",
            "POST /shop.v1.Shop/Plain",
            "POST /shop/plain",
            "POST /Shop.Plain",
        ] {
            let answer = at(&face, name, line, JSON, "{}");
            assert_eq!(backend(&answer), (200, Some(name)), "{line}: {answer:?}");
        }
        assert_eq!(at(&face, name, "DELETE /v1/items/x", "", "").status, 405);
        let web = "content-type: application/grpc-web+proto\r\n";
        let answer = at(&face, name, "POST /shop.v1.Shop/Plain", web, "\0\0\0\0\0");
        assert_eq!(backend(&answer), (200, Some(name)), "{answer:?}");
    }
    let page = at(&face, "page", "GET /v1/items/x", "", "");
    assert!(page.text().starts_with("page: GET /v1/items/x\n"), "others' routes are not its own: {page:?}");
}

#[test]
fn a_route_to_one_of_two_that_say_the_same_is_to_that_one() {
    let place = Place::new();
    let services = Services::new(&place);
    shop::open(&services);
    shop::open_as(&services, "store");
    services.mirror("page");
    let file = place.path("gateway.toml");
    let route =
        |name: &str| format!("[[api.route]]\npath = '/'\nhost = '{name}.example'\nservice = '{name}'\n");
    let called = "[[api.route]]\npath = '/'\nhost = 'called.example'\nservice = 'page'\nhandler = 'rpc'\n";
    std::fs::write(&file, ["shop", "store", "page"].map(route).concat() + called).unwrap();
    let face = Face::start(&place, &["--config", file.to_str().unwrap()]);
    for name in ["shop", "store"] {
        let host = format!("{name}.example");
        until_its_routes_are_known(&face, &host);
        for line in ["GET /v1/items/x", "POST /shop.v1.Shop/Plain"] {
            let answer = at(&face, &host, line, JSON, "{}");
            assert_eq!(backend(&answer), (200, Some(name)), "{line}: {answer:?}");
        }
    }
    for line in ["POST /shop.v1.Shop/Plain", "GET /v1/items/x"] {
        let answer = at(&face, "page.example", line, JSON, "{}");
        assert!(answer.text().starts_with(&format!("page: {line}\n")), "{answer:?}");
    }
    let answer = at(&face, "called.example", "POST /shop.v1.Shop/Plain", JSON, "{}");
    assert!(answer.status >= 400, "a call is no page: {answer:?}");
}

#[test]
fn a_call_of_grpc_goes_by_the_host_too() {
    let place = Place::new();
    let services = Services::new(&place);
    for name in ["clinic", "grpc.health.v1"] {
        services.serve_raw(Record::new(name), move |_| async move {
            let serving = Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]);
            let answer =
                Response::builder().header("content-type", "application/grpc").header("x-backend", name);
            answer.body(grpc_body(vec![serving], &[("grpc-status", "0")])).unwrap()
        });
    }
    let (by_host, by_path) = (Face::start(&place, &["--resolver", "host"]), Face::start(&place, &[]));
    services.runtime.block_on(async {
        for (face, backend) in [(&by_host, "clinic"), (&by_path, "grpc.health.v1")] {
            let endpoint = Endpoint::from_shared(format!("http://{}", face.address)).unwrap();
            let endpoint = endpoint.origin("http://Clinic:80".parse().unwrap());
            let mut client = HealthClient::new(endpoint.connect().await.unwrap());
            let answer = client.check(HealthCheckRequest::default()).await.unwrap();
            assert_eq!(answer.metadata().get("x-backend").unwrap(), backend);
        }
    });
}

#[test]
fn the_first_part_of_a_path_is_a_service_or_the_second_behind_a_version() {
    let place = Place::new();
    let services = Services::new(&place);
    for name in ["foo", "v1", "a.b_c"] {
        services.mirror(name);
    }
    shop::open(&services);
    let start = |resolver| Face::with(&place, &[], &[("MICRO_API_RESOLVER", resolver)]);
    for (resolver, path, service) in [
        ("path", "/foo/bar", "foo"),
        ("path", "/foo/a/b/c/d", "foo"),
        ("path", "/v1/foo/bar", "v1"),
        ("path", "/a.b_c/x", "a.b_c"),
        ("vpath", "/foo/bar", "foo"),
        ("vpath", "/v1/foo/bar/baz/cat", "foo"),
        ("vpath", "/v22/foo", "foo"),
    ] {
        let face = start(resolver);
        let answer = face.get(path);
        assert!(
            answer.text().starts_with(&format!("{service}: GET {path}\n")),
            "{resolver} {path}: {answer:?}"
        );
    }
    let face = start("vpath");
    until_its_routes_are_known(&face, "gateway");
    for path in ["/v2/shop/plain", "/v2/shop/shop/plain", "/shop/Shop.Plain", "/shop.v1.Shop/Plain"] {
        let answer = face.ask("POST", path, JSON, b"{}");
        assert_eq!(backend(&answer), (200, Some("shop")), "{path}: {answer:?}");
    }
}

#[test]
fn a_package_is_a_service_and_nothing_else_is() {
    let place = Place::new();
    let services = Services::new(&place);
    shop::open_as(&services, "shop.v1");
    services.mirror("shop");
    let face = Face::start(&place, &["--resolver", "grpc"]);
    until_its_routes_are_known(&face, "gateway");
    for (method, path) in [("POST", "/shop.v1.Shop/Plain"), ("GET", "/shop.v1.Shop/Plain?name=a")] {
        let answer = face.ask(method, path, JSON, b"");
        assert_eq!(backend(&answer), (200, Some("shop.v1")), "{method} {path}: {answer:?}");
    }
    let nowhere = face.get("/shop/x");
    assert_eq!(nowhere.status, 404, "{nowhere:?}");
    assert!(nowhere.text().contains("/package.Service/Method would"), "{nowhere:?}");
    // The package alone names it: here it would be the name of its service in small letters.
    assert_eq!(face.ask("POST", "/none.Shop/Plain", JSON, b"{}").status, 404);
}

#[test]
fn a_resolver_that_is_none_is_a_wrong_setting() {
    let run = Place::new().run(&["api", "--address", "127.0.0.1:0", "--resolver", "subdomain"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.err.contains("it is micro, host, path, vpath or grpc"), "{run:?}");
}
