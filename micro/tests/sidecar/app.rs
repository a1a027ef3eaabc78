//! The program beside the sidecar, and who may use the sidecar at all.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tonic_health::ServingStatus;

use crate::face::{Answer, Face};
use crate::program::Place;

/// A program that answers 200 or 500. Its address, and what decides.
fn program() -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let well = Arc::new(AtomicBool::new(true));
    let answers = well.clone();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let answers = answers.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                    let status = if answers.load(Ordering::Relaxed) { "200 OK" } else { "500 No" };
                    let _ = stream
                        .write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes());
                }
            });
        }
    });
    (address, well)
}

fn until(face: &Face, path: &str, status: u16) {
    let start = Instant::now();
    loop {
        let answer = face.get(path);
        if answer.status == status {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{path} is still {answer:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_app_is_registered_while_it_is_well_and_the_sidecar_lives() {
    let place = Place::new();
    let (address, well) = program();
    let check = format!("http://{address}/health");
    let arguments = ["--server_name", "foo", "--server_address", &address, "--healthcheck_url", &check];
    let arguments = [&arguments[..], &["--healthcheck-interval", "100ms"]].concat();
    let mut face = Face::of(&place, "sidecar", &arguments);
    until(&face, "/registry?service=foo", 200);
    assert_eq!(face.get("/health").status, 200);

    well.store(false, Ordering::Relaxed);
    until(&face, "/registry?service=foo", 404);
    let health = face.get("/health");
    assert_eq!((health.status, health.text().as_str()), (500, "Non 200 response: 500"));

    well.store(true, Ordering::Relaxed);
    until(&face, "/registry?service=foo", 200);
    face.signal(Signal::TERM);
    assert_eq!(face.end().0, Some(0));
    let said = face.errors();
    assert!(said.contains("Non 200 response: 500"), "why it was withdrawn is said: {said}");
    assert_eq!(place.run(&["get", "foo"]).code, Some(3), "it is withdrawn with its sidecar");
}

#[test]
fn an_app_of_grpc_says_by_its_health_whether_it_is_listed() {
    let place = Place::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (reporter, health) = tonic_health::server::health_reporter();
    let bound = runtime.block_on(micro_tower::Server::new().health(false).bind()).unwrap();
    let address = bound.local_address().to_string();
    let routes = tonic::service::Routes::new(health).prepare();
    runtime.spawn(bound.serve_until(routes, std::future::pending()));
    let say = |status| runtime.block_on(reporter.set_service_status("shop.Shop", status));
    say(ServingStatus::Serving);
    let check = format!("grpc://{address}/shop.Shop");
    let arguments = ["--server-name", "shop", "--server-address", &address, "--healthcheck-url", &check];
    let face = Face::of(&place, "sidecar", &[&arguments[..], &["--healthcheck-interval", "100ms"]].concat());
    until(&face, "/registry?service=shop", 200);
    say(ServingStatus::NotServing);
    until(&face, "/registry?service=shop", 404);
    assert_eq!(face.get("/health").status, 503);
    say(ServingStatus::Serving);
    until(&face, "/registry?service=shop", 200);
}

#[test]
fn an_app_that_begins_after_its_sidecar_is_listed_soon() {
    let place = Place::new();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let check = format!("tcp://{address}");
    let arguments = ["--server-name", "late", "--server-address", &address, "--healthcheck-url", &check];
    let face = Face::of(&place, "sidecar", &[&arguments[..], &["--healthcheck-interval", "1h"]].concat());
    until(&face, "/health", 500);
    let _listener = TcpListener::bind(&address).unwrap();
    until(&face, "/registry?service=late", 200);
}

#[test]
fn an_app_is_listed_while_its_port_takes_connections() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let check = format!("tcp://{address}");
    let arguments = ["--server-name", "db", "--server-address", &address, "--healthcheck-url", &check];
    let every = ["--healthcheck-interval", "100ms", "--healthcheck-threshold", "2"];
    let face = Face::of(&place, "sidecar", &[&arguments[..], &every].concat());
    until(&face, "/registry?service=db", 200);
    drop(listener);
    until(&face, "/registry?service=db", 404);
    let _again = TcpListener::bind(&address).unwrap();
    until(&face, "/registry?service=db", 200);
}

#[test]
fn an_app_whose_sidecar_was_killed_is_listed_once_when_the_next_one_has_come() {
    let place = Place::new();
    let arguments = ["--server-name", "foo", "--server-address", "127.0.0.1:9"];
    let mut killed = Face::of(&place, "sidecar", &arguments);
    until(&killed, "/registry?service=foo", 200);
    killed.signal(Signal::KILL);
    killed.end();

    let mut next = Face::of(&place, "sidecar", &[&arguments[..], &["--server-version", "2"]].concat());
    let start = Instant::now();
    let found = loop {
        let found = next.get("/registry?service=foo").json();
        if found.as_array().unwrap().iter().any(|version| version["version"] == "2") {
            break found;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{found}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(
        found.as_array().unwrap().len() == 1 && found[0]["nodes"].as_array().unwrap().len() == 1,
        "{found}"
    );
    next.signal(Signal::TERM);
    assert_eq!(next.end().0, Some(0));
    assert_eq!(place.run(&["get", "foo"]).code, Some(3));
}

#[test]
fn an_app_that_is_not_well_when_its_sidecar_comes_again_is_listed_no_more() {
    let place = Place::new();
    let (address, well) = program();
    let check = format!("http://{address}/health");
    let arguments = ["--server-name", "foo", "--server-address", &address, "--healthcheck-url", &check];
    let mut killed = Face::of(&place, "sidecar", &[&arguments[..], &["--server-version", "1"]].concat());
    until(&killed, "/registry?service=foo", 200);
    killed.signal(Signal::KILL);
    killed.end();
    well.store(false, Ordering::Relaxed);

    // The record that the killed one left is believed for its TTL of half a minute.
    let began = Instant::now();
    let next = Face::of(&place, "sidecar", &arguments);
    until(&next, "/registry?service=foo", 404);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn what_was_registered_through_a_sidecar_goes_with_it() {
    let place = Place::new();
    let mut face = Face::of(&place, "sidecar", &[]);
    let record = br#"{"name":"bar","nodes":[{"id":"bar-1","address":"127.0.0.1:9"}]}"#;
    assert_eq!(face.ask("POST", "/registry", "", record).status, 200);
    assert_eq!(place.run(&["get", "bar"]).code, Some(0));
    face.signal(Signal::TERM);
    assert_eq!(face.end().0, Some(0));
    assert_eq!(place.run(&["get", "bar"]).code, Some(3));
}

#[test]
fn half_an_app_and_a_sidecar_open_to_others_are_refused() {
    let place = Place::new();
    for (arguments, said) in [
        (&["--server-name", "foo"][..], "Require server address"),
        (&["--server-address", "127.0.0.1:1"], "Require server name"),
        (&["--healthcheck-url", "http://127.0.0.1:1/health"], "Require server name"),
        (&["--cors", "shop"], "an origin is a scheme, a host and perhaps a port"),
        (&["--cors", "https://shop.example,*"], "not for pages of every host"),
        (&["--address", "0.0.0.0:0"], "needs a token"),
    ] {
        let run = place.run(&[&["sidecar"], arguments].concat());
        assert!(run.code == Some(2) && run.err.contains(said), "{arguments:?}: {run:?}");
    }
    let run = place.run(&["sidecar", "--socket", "/nonexistent/socket"]);
    assert!(run.code == Some(1) && run.err.contains("try:   another --socket"), "{run:?}");
}

#[test]
fn a_token_is_wanted_where_there_is_one_and_pages_of_others_are_turned_away() {
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &["--token", "secret"]);
    assert_eq!(face.get("/registry").status, 401);
    assert_eq!(face.get("/health").status, 200, "whoever starts it may ask whether it is well");
    for headers in ["authorization: Bearer secret\r\n", "micro-token: secret\r\n"] {
        assert_eq!(face.ask("GET", "/registry", headers, b"").status, 200);
    }
    let page = "authorization: Bearer secret\r\norigin: https://evil.example\r\n";
    assert_eq!(face.ask("GET", "/registry", page, b"").status, 403);
}

#[test]
fn a_socket_of_the_file_system_serves_whoever_may_open_it() {
    let place = Place::new();
    let socket = place.path("sidecar.sock");
    let mut running = place.start(&["sidecar", "--socket", socket.to_str().unwrap()]);
    let line = running.line();
    assert!(line.contains("sidecar.sock"), "{line}");
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let ask = b"GET /registry HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(ask).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("[]"), "{answer}");
    running.signal(Signal::TERM);
    assert_eq!(running.end().0.code(), Some(0));
}

#[test]
fn a_page_that_made_a_name_of_its_own_mean_this_machine_reads_nothing() {
    let place = Place::new();
    let get = |face: &Face, host: &str, more: &str| {
        let request = format!("GET /registry HTTP/1.1\r\nhost: {host}\r\n{more}connection: close\r\n\r\n");
        Answer::of(&face.say(request)).status
    };
    let face = Face::of(&place, "sidecar", &["--cors", "https://shop.example"]);
    for (host, status) in [
        ("evil.example:8081", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.", 403),
        ("localhost:8081", 200),
        ("127.0.0.1:8081", 200),
        ("[::1]:8081", 200),
        ("sidecar:8081", 200),
        ("shop.example", 200),
    ] {
        assert_eq!(get(&face, host, ""), status, "{host}");
    }
    let secret = Face::of(&place, "sidecar", &["--token", "secret"]);
    assert_eq!(get(&secret, "sidecar.example", "micro-token: secret\r\n"), 200, "a token says enough");
}

#[test]
fn pages_that_are_named_use_the_sidecar_as_browsers_ask() {
    let place = Place::new();
    let face = Face::of(&place, "sidecar", &["--cors", "https://shop.example", "--token", "secret"]);
    let page = "origin: https://shop.example\r\n";
    let asks = format!(
        "{page}access-control-request-method: DELETE\r\naccess-control-request-headers: micro-token\r\n"
    );
    let answer = face.ask("OPTIONS", "/registry", &asks, b"");
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-headers"), Some("micro-token"));
    assert!(answer.header("access-control-allow-methods").unwrap().contains("delete"), "{answer:?}");
    for (token, status) in [("micro-token: secret\r\n", 200), ("", 401)] {
        let answer = face.ask("GET", "/registry", &format!("{page}{token}"), b"");
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example"));
    }
    let other = "origin: https://evil.example\r\naccess-control-request-method: DELETE\r\n";
    assert_eq!(face.ask("OPTIONS", "/registry", other, b"").status, 403);
}
