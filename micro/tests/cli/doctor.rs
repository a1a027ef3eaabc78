//! What `micro doctor` finds, on machines that are well and on others.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use micro_tower::Server;
use micro_tower::server::ServerTls;
use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};
use serde_json::Value;

use crate::echo::Echo;
use crate::peer::{Reflection, routes};
use crate::program::{Place, Run};

/// What was found of `check` that is about something with `about` in it.
fn found(run: &Run, check: &str, about: &str) -> Value {
    let all: Vec<Value> = serde_json::from_str(&run.out).unwrap();
    let is = |one: &&Value| one["check"] == check && one["about"].as_str().unwrap().contains(about);
    all.iter().find(is).cloned().unwrap_or_else(|| panic!("{check} {about} is not in {run:?}"))
}

fn doctor(place: &Place, arguments: &[&str]) -> Run {
    place.run(&[&["doctor", "-o", "json"], arguments].concat())
}

/// A server that answers whatever it is asked so, and says that it is `date`.
fn says(date: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let length = body.len();
                let head =
                    format!("HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-length: {length}\r\n\r\n{body}");
                while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                    stream.write_all(head.as_bytes()).ok();
                }
            });
        }
    });
    address
}

#[test]
fn a_machine_that_is_well_has_no_failed_check() {
    let echo = Echo::new();
    let run = doctor(&echo.place, &["--timeout", "30s"]);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    let setting = found(&run, "setting", "registry");
    assert!(setting["said"].as_str().unwrap().ends_with(", by MICRO_REGISTRY"), "{setting}");
    let registry = found(&run, "registry", "file:");
    assert_eq!(
        (&registry["said"], &registry["outcome"]),
        (&"answers, and has 1 service".into(), &"ok".into())
    );
    assert!(registry["took_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(found(&run, "broker", "http")["outcome"], "ok");
    for id in ["echo a", "echo b"] {
        for (check, said) in
            [("endpoint", "listens at 127.0.0.1:"), ("health", "serves"), ("reflection", "says 6 methods")]
        {
            let one = found(&run, check, id);
            assert!(one["outcome"] == "ok" && one["said"].as_str().unwrap().starts_with(said), "{one}");
        }
    }
    let table = echo.place.ok(&["doctor", "echo"]);
    assert!(table.starts_with("CHECK       ABOUT") && !table.contains("try: "), "{table}");
}

#[test]
fn each_failure_has_a_line_of_what_to_try() {
    let place = Place::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let web = says("Sun, 06 Nov 1994 08:49:37 GMT", "hello");
    let at = [
        ("gone", "127.0.0.1:1"),
        ("silent", &silent.local_addr().unwrap().to_string()),
        ("web", &web),
        ("lost", "nobody.invalid:80"),
    ];
    for (id, address) in at {
        place.ok(&["register", "greeter", "--address", address, "--id", id, "--ttl", "0"]);
    }
    let run = doctor(&place, &["--timeout", "2s"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let expected = [
        ("endpoint", "gone", "failed", "micro deregister greeter --id gone"),
        ("health", "gone", "skipped", ""),
        ("endpoint", "silent", "ok", ""),
        ("health", "silent", "failed", "micro health greeter"),
        ("endpoint", "web", "ok", ""),
        ("health", "web", "warning", "no server of gRPC"),
        ("dns", "nobody.invalid", "failed", "another spelling"),
    ];
    for (check, about, outcome, hint) in expected {
        let one = found(&run, check, about);
        assert_eq!(one["outcome"], outcome, "{one}");
        assert!(one["try"].as_str().unwrap_or_default().contains(hint), "{one}");
    }
    let table = place.run(&["doctor", "--timeout", "2s"]);
    assert!(
        table.out.contains("\nendpoint greeter gone try: starting what is registered there, or "),
        "{table:?}"
    );
    assert!(table.err.contains("checks failed\n"), "{table:?}");
    let missing = doctor(&place, &["greter", "--timeout", "2s"]);
    assert_eq!(
        (missing.code, &found(&missing, "registry", "greter")["outcome"]),
        (Some(1), &"failed".into())
    );
}

#[test]
fn of_very_many_endpoints_some_are_looked_at_and_nothing_takes_for_ever() {
    let echo = Echo::new();
    let registry = micro_discover::open(&echo.place.url()).unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut many = micro_discover::Service::new("many");
    for number in 0..5000 {
        let address = match number % 1000 {
            0 => echo.address.parse().unwrap(),
            1 => silent.local_addr().unwrap().to_string().parse().unwrap(),
            _ => "127.0.0.1:1".parse().unwrap(),
        };
        many.endpoints.push(micro_discover::Endpoint::new(format!("{number:04}"), address));
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(registry.announce(&many, Duration::ZERO)).unwrap();

    let began = Instant::now();
    let run = doctor(&echo.place, &["--timeout", "5s"]);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(run.code, Some(1), "{run:?}");
    let all: Vec<Value> = serde_json::from_str(&run.out).unwrap();
    let looked = |about: &str| {
        let is =
            |one: &&Value| one["check"] == "endpoint" && one["about"].as_str().unwrap().starts_with(about);
        all.iter().filter(is).count()
    };
    assert_eq!((looked("many "), looked("echo ")), (64, 2), "{run:?}");
    let told = all.iter().find(|one| one["about"] == "many").unwrap();
    assert_eq!((&told["outcome"], &told["said"]), (&"skipped".into(), &"64 of 5000 looked at".into()));
    assert_eq!(told["try"], "micro doctor many --all");
    assert_eq!(found(&run, "reflection", "many 0000")["said"], "says 6 methods");

    // All of them, until the time is over.
    let began = Instant::now();
    let run = doctor(&echo.place, &["many", "--all", "--timeout", "1h", "--within", "3s"]);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let told = found(&run, "endpoint", "the others");
    assert!(told["said"].as_str().unwrap().contains(" of 5000 were not looked at"), "{told}");
    assert!(told["try"].as_str().unwrap().contains("--within"), "{told}");
}

#[test]
fn settings_that_cannot_be_read_are_what_is_found() {
    let place = Place::new();
    let mut command = place.command(&["doctor", "-o", "json"]);
    let output = command.env("MICRO_COLOR", "pink").output().unwrap();
    let run = Run::of(output);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(found(&run, "setting", "MICRO_COLOR")["outcome"], "failed");
    assert_eq!(found(&run, "registry", "-")["outcome"], "skipped");
    let run = doctor(&place, &["--registry", "nosuch://user:hunter2@h"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(found(&run, "setting", "to open the registry")["outcome"], "failed");
    assert!(!run.out.contains("hunter2"), "{run:?}");
}

#[test]
fn a_registry_that_says_nothing_is_not_waited_for_and_one_that_is_not_there_is_told() {
    let place = Place::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listener = TcpListener::bind(silent).unwrap();
    let began = Instant::now();
    let run = doctor(&place, &["--proxy", &silent.to_string(), "--timeout", "300ms"]);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(
        (run.code, &found(&run, "registry", "http://")["outcome"]),
        (Some(1), &"failed".into()),
        "{run:?}"
    );
    drop(listener);
    let run = doctor(&place, &["--proxy", "127.0.0.1:1", "--timeout", "30s"]);
    let one = found(&run, "registry", "http://127.0.0.1:1");
    assert!(one["said"].as_str().unwrap().contains("Connection refused"), "{one}");
    assert!(one["try"].as_str().unwrap().contains("micro sidecar on that address"), "{one}");
}

#[test]
fn a_clock_that_is_far_from_the_registrys_is_told() {
    let place = Place::new();
    for (date, said) in [
        ("Sun, 06 Nov 1994 08:49:37 GMT", "ahead of the registry's server"),
        ("Fri, 06 Nov 2093 08:49:37 GMT", "behind the registry's server"),
    ] {
        let run = doctor(&place, &["--proxy", &says(date, "[]"), "--timeout", "30s"]);
        let clock = found(&run, "clock", "127.0.0.1");
        assert_eq!((run.code, &clock["outcome"]), (Some(1), &"failed".into()), "{clock}");
        assert!(clock["said"].as_str().unwrap().ends_with(said), "{clock}");
        assert!(clock["try"].as_str().unwrap().contains("NTP"), "{clock}");
    }
}

/// A server over TLS whose certificate ends in `year`.
fn secure(runtime: &tokio::runtime::Runtime, place: &Place, id: &str, year: i32) {
    let mut params = CertificateParams::new(vec!["greeter.example".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    params.not_after = date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let (cert, pem) = (place.path(&format!("{id}.pem")), place.path(&format!("{id}.key")));
    std::fs::write(&cert, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&pem, key.serialize_pem()).unwrap();
    let tls = ServerTls::files(&cert, &pem).unwrap();
    let bound = runtime.block_on(Server::new().address(([127, 0, 0, 1], 0).into()).tls(tls).bind()).unwrap();
    let address = format!("https://{}", bound.local_address());
    runtime.spawn(bound.serve_until(routes(id, Reflection::V1).prepare(), std::future::pending()));
    place.ok(&["register", "secure", "--address", &address, "--id", id, "--ttl", "0"]);
}

#[test]
fn certificates_say_until_when_they_are_good() {
    let (runtime, place) = (tokio::runtime::Runtime::new().unwrap(), Place::new());
    secure(&runtime, &place, "good", 2200);
    secure(&runtime, &place, "old", 2001);
    let ca = place.path("good.pem").display().to_string();
    let run = doctor(&place, &["--ca", &ca, "--timeout", "30s"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let good = found(&run, "tls", "secure good");
    assert!(
        good["outcome"] == "ok" && good["said"].as_str().unwrap().ends_with("until 2200-01-01T00:00:00Z"),
        "{good}"
    );
    assert_eq!(found(&run, "health", "secure good")["outcome"], "ok", "{run:?}");
    let old = found(&run, "tls", "secure old");
    assert_eq!(
        (&old["outcome"], &old["said"]),
        (&"failed".into(), &"expired at 2001-01-01T00:00:00Z".into())
    );
    assert_eq!(found(&run, "health", "secure old")["outcome"], "failed", "{run:?}");
    assert_eq!(found(&run, "tls", "ca ")["outcome"], "ok");
    let untrusted = doctor(&place, &["secure", "--timeout", "30s"]);
    let health = found(&untrusted, "health", "secure good");
    assert!(
        health["outcome"] == "failed" && health["try"].as_str().unwrap().contains("--ca FILE"),
        "{health}"
    );
}

#[cfg(all(feature = "etcd", feature = "consul", feature = "nats", feature = "rabbitmq"))]
#[test]
fn servers_that_are_not_there_are_each_told() {
    let place = Place::new();
    let arguments =
        |registry, broker| doctor(&place, &["--registry", registry, "--broker", broker, "--timeout", "5s"]);
    let run = arguments("etcd://user:hunter2@127.0.0.1:1", "nats://127.0.0.1:1");
    assert_eq!(
        (run.code, &found(&run, "registry", "etcd:")["outcome"]),
        (Some(1), &"failed".into()),
        "{run:?}"
    );
    let refused = |broker: &Value| {
        assert_eq!(broker["outcome"], "failed", "{broker}");
        let said = broker["said"].as_str().unwrap();
        assert!(said.contains("127.0.0.1:1 cannot be reached: Connection refused"), "{broker}");
        assert!(broker["took_ms"].as_f64().unwrap() < 4000.0, "it is not waited for: {broker}");
    };
    refused(&found(&run, "broker", "nats"));
    assert!(!run.out.contains("hunter2") && !run.err.contains("hunter2"), "{run:?}");
    let run = arguments("consul://127.0.0.1:1", "amqp://user:hunter2@127.0.0.1:1");
    assert_eq!(found(&run, "registry", "consul:")["outcome"], "failed", "{run:?}");
    refused(&found(&run, "broker", "rabbitmq"));
    assert!(!run.out.contains("hunter2") && !run.err.contains("hunter2"), "{run:?}");
}
