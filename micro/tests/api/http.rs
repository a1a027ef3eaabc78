//! Plain HTTP through the gateway.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use http::Response;
use micro_discover::{Method, Service as Record};
use tonic::body::Body;

use crate::face::{Answer, Face};
use crate::program::Place;
use crate::service::Services;

#[test]
fn a_path_leads_to_its_service() {
    let place = Place::new();
    let services = Services::new(&place);
    for name in ["go.micro.api.foo", "go.micro.api.v1.foo", "bar", "go.micro.api.foo-bar"] {
        services.mirror(name);
    }
    let face = Face::start(&place, &[]);
    let cases = [
        ("/foo", "go.micro.api.foo: get /foo\n"),
        ("/foo/bar?a=b&c=%2F", "go.micro.api.foo: get /foo/bar?a=b&c=%2f\n"),
        ("/foo/bar/baz/cat/car", "go.micro.api.foo: get /foo/bar/baz/cat/car\n"),
        ("/foo/queues/%2F/a%2fb", "go.micro.api.foo: get /foo/queues/%2f/a%2fb\n"),
        ("/v1/foo/bar/baz", "go.micro.api.v1.foo: get /v1/foo/bar/baz\n"),
        ("/foo-bar/x", "go.micro.api.foo-bar: get /foo-bar/x\n"),
        ("/bar/x", "bar: get /bar/x\n"),
    ];
    for (path, expected) in cases {
        let answer = face.get(path);
        assert_eq!(answer.status, 200, "{path} {answer:?}");
        assert!(answer.text().to_lowercase().starts_with(expected), "{path}: {}", answer.text());
    }
    let strict = Face::start(&place, &["--namespace", "go.micro.api"]);
    assert_eq!(strict.get("/foo/x").status, 200);
    assert_eq!(strict.get("/bar/x").status, 404, "it is in no namespace");
}

#[test]
fn who_is_not_there_is_said_in_go_micros_words() {
    let place = Place::new();
    let services = Services::new(&place);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    services.announce("absent", nobody);
    services.serve(Record::new("slow"), |_| std::future::pending::<Response<Body>>());
    let face = Face::start(&place, &["--timeout", "300ms"]);
    for (path, code, status) in [
        ("/unknown/x", 404, "Not Found"),
        ("/", 404, "Not Found"),
        ("/openapi.json", 404, "Not Found"),
        ("/absent/x", 503, "Service Unavailable"),
        ("/slow/x", 504, "Gateway Timeout"),
        ("/a/../slow", 400, "Bad Request"),
        ("/a/%2e%2e/slow", 400, "Bad Request"),
        ("/a/x%2F..%2Fslow", 400, "Bad Request"),
    ] {
        let answer = face.get(path);
        assert_eq!(answer.status, code, "{path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let json = answer.json();
        assert_eq!(
            (&json["id"], &json["code"], &json["status"]),
            (&"go.micro.api".into(), &code.into(), &status.into())
        );
        let detail = json["detail"].as_str().unwrap();
        assert!(!detail.is_empty() && !detail.contains(" or  "), "{path}: {detail}");
        assert!(answer.header("x-request-id").is_some());
    }
    let detail = &face.get("/unknown/x").json()["detail"];
    assert_eq!(detail, "service go.micro.api.unknown or unknown is not registered");
}

#[test]
fn a_service_learns_who_asks_and_nothing_that_was_said_to_the_gateway() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    let face = Face::start(&place, &[]);
    let headers = "x-forwarded-for: 203.0.113.7\r\nx-forwarded-proto: https\r\nkeep-alive: 5\r\nte: gzip\r\nx-request-id: mine\r\n\
                   proxy-authorization: secret\r\n";
    let answer = face.ask("GET", "/foo/x", headers, b"");
    let text = answer.text();
    for line in [
        "host: gateway",
        "x-forwarded-for: 203.0.113.7, 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: gateway",
        "x-request-id: mine",
    ] {
        assert!(text.lines().any(|other| other == line), "{line:?} is missing in {text}");
    }
    for name in ["keep-alive:", "te:", "connection:", "proxy-authorization:"] {
        assert!(!text.lines().any(|line| line.starts_with(name)), "{name} came through: {text}");
    }
    assert_eq!((answer.header("x-request-id"), answer.header("x-backend")), (Some("mine"), Some("mirror")));
}

#[test]
fn a_registry_that_says_nobody_is_there_is_doubted_while_they_answer() {
    let place = Place::new();
    let services = Services::new(&place);
    services.serve(Record::new("foo").metadata("protocol", "h2c"), |request| async move {
        Response::new(Body::new(format!("{:?}", request.version())))
    });
    let face = Face::start(&place, &[]);
    assert_eq!(face.get("/foo/x").text(), "HTTP/2.0");
    services.forget("foo");
    // The word is there within moments, whenever that is: every answer is as before.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        let answer = face.get("/foo/x");
        assert_eq!((answer.status, answer.text().as_str()), (200, "HTTP/2.0"), "{answer:?}");
    }
}

#[test]
fn a_request_that_goes_in_a_circle_comes_to_an_end() {
    let place = Place::new();
    let services = Services::new(&place);
    let face = Face::start(&place, &[]);
    services.announce("mirrors", face.address);
    let answer = face.get("/mirrors/x");
    assert_eq!((answer.status, &answer.json()["status"]), (508, &"Loop Detected".into()), "{answer:?}");
}

#[test]
fn what_is_not_registered_cannot_be_reached() {
    let place = Place::new();
    let secret = TcpListener::bind("127.0.0.1:0").unwrap();
    secret.set_nonblocking(true).unwrap();
    let address = secret.local_addr().unwrap();
    let face = Face::start(&place, &[]);
    for path in [
        format!("/{address}/x"),
        format!("/http://{address}/x"),
        format!("//{address}/x"),
        format!("/x@{address}/x"),
        format!("/rpc?address={address}"),
    ] {
        assert!(face.get(&path).status >= 400, "{path}");
    }
    let absolute = format!("GET http://{address}/x HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    assert!(face.say(absolute).starts_with(b"HTTP/1.1 404"));
    let connect = format!("CONNECT {address} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    assert!(face.say(connect).starts_with(b"HTTP/1.1 4"));
    assert!(secret.accept().is_err(), "somebody connected");
}

#[test]
fn bodies_of_any_length_go_through_both_ways() {
    let place = Place::new();
    let services = Services::new(&place);
    services.echo("echo");
    let face = Face::start(&place, &[]);
    let body: Vec<u8> = (0..20_000_000_u32).map(|at| (at % 251) as u8).collect();
    let mut stream = face.connect();
    let mut sending = stream.try_clone().unwrap();
    let sent = body.clone();
    let sender = std::thread::spawn(move || {
        let head =
            "POST /echo/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        sending.write_all(head.as_bytes()).unwrap();
        for chunk in sent.chunks(100_000) {
            sending.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
            sending.write_all(chunk).unwrap();
            sending.write_all(b"\r\n").unwrap();
        }
        sending.write_all(b"0\r\n\r\n").unwrap();
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    sender.join().unwrap();
    let answer = crate::face::Answer::of(&answer);
    assert_eq!(answer.status, 200);
    assert!(answer.body == body, "{} bytes came back", answer.body.len());
}

#[test]
fn an_answer_begins_before_the_request_has_ended() {
    let place = Place::new();
    let services = Services::new(&place);
    services.echo("echo");
    let face = Face::start(&place, &[]);
    let mut stream = face.connect();
    stream
        .write_all(b"POST /echo/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        .unwrap();
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"5\r\nfirst\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1);
        seen.push(byte[0]);
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
}

#[test]
fn a_method_may_say_how_it_wants_its_requests() {
    let place = Place::new();
    let services = Services::new(&place);
    let record = Record::new("shop").method(Method::new("Shop.Buy").metadata("handler", "http"));
    services
        .serve(record, |request| async move { Response::new(Body::new(request.uri().path().to_owned())) });
    let face = Face::start(&place, &[]);
    assert_eq!(face.get("/shop/buy").text(), "/shop/buy");
}

#[test]
fn pages_of_other_hosts_are_let_in_by_name_only() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    let preflight = "origin: https://a.example\r\naccess-control-request-method: PUT\r\n";
    let face = Face::start(&place, &[]);
    let answer = face.ask("OPTIONS", "/foo/x", preflight, b"");
    assert_eq!((answer.status, answer.header("x-backend")), (200, Some("mirror")), "the service may decide");
    assert_eq!(answer.header("access-control-allow-origin"), None);

    let open = Face::start(&place, &["--cors", "https://a.example", "--cors-credentials"]);
    let answer = open.ask("OPTIONS", "/foo/x", preflight, b"");
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (204, Some("https://a.example"))
    );
    let answer = open.ask("GET", "/foo/x", "origin: https://b.example\r\n", b"");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
    let run = place.run(&["api", "--cors", "*", "--cors-credentials"]);
    assert_eq!(run.code, Some(2), "{run:?}");
}

#[test]
fn an_answer_of_an_old_server_is_told_in_the_gateways_own_http() {
    let place = Place::new();
    let services = Services::new(&place);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    services.announce("old", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // A connection on which nothing is asked yet is to keep no other waiting.
            std::thread::spawn(move || {
                let mut head = [0; 4096];
                if stream.read(&mut head).unwrap_or(0) > 0 {
                    stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nto the end").ok();
                }
            });
        }
    });
    let face = Face::start(&place, &[]);
    face.until("/old/x", 200);
    let mut stream = face.connect();
    // The connection with the gateway goes on, whatever became of the one behind it.
    for _ in 0..2 {
        stream.write_all(b"GET /old/x HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"0\r\n\r\n") {
            let mut some = [0; 4096];
            let read = stream.read(&mut some).unwrap();
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&some[..read]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(Answer::of(&answer).text(), "to the end");
    }
    let answer = Answer::of(&face.say("GET /old/x HTTP/1.0\r\nhost: a\r\n\r\n"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "to the end"));
}

#[test]
fn a_timeout_longer_than_any_header_can_say_is_a_long_one() {
    let place = Place::new();
    let services = Services::new(&place);
    crate::shop::open(&services);
    let face = Face::start(&place, &["--timeout", "18446744073709551615s"]);
    let json = "content-type: application/json\r\n";
    assert_eq!(face.ask("POST", "/shop/shop/plain", json, b"{}").status, 200);
}
