//! Exit codes by kind of failure, and what is said.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::program::Place;

#[test]
fn a_mistyped_service_is_not_found_and_the_one_meant_is_suggested() {
    let place = Place::new();
    place.ok(&["register", "greeter", "-a", "127.0.0.1:1", "--id", "g-1", "--ttl", "0"]);
    let cases: [&[&str]; 3] = [&["get", "greter"], &["health", "greter"], &["deregister", "greter", "--all"]];
    for arguments in cases {
        let run = place.run(arguments);
        let verb = arguments[0];
        let said = format!(
            "error: there is no service \"greter\"\ntried: to find it for micro {verb}, in the registry {}\ntry:   micro {verb} greeter\n",
            place.url()
        );
        assert_eq!((run.code, run.out.as_str(), run.err), (Some(3), "", said));
    }
    let run = place.run(&["deregister", "greeter", "--id", "g-2", "--id", "g-1"]);
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.err.contains("try:   micro deregister greeter --id g-1"), "{run:?}");
    assert!(place.ok(&["list"]).contains("greeter"), "nothing is done by halves");
}

#[test]
fn what_is_said_to_try_is_what_was_meant_or_nothing() {
    let place = Place::new();
    std::fs::create_dir(place.path("greeter")).unwrap();
    let greeter = place.path("greeter");
    place.ok(&["register", "greeter", "-a", "127.0.0.1:1", "--id", "g-1", "--ttl", "0"]);
    let cases: [(&[&str], &str, &str); 9] = [
        (&["help", "nope"], "no command or topic \"nope\"", "try:   micro help\n"),
        (&["help", "cal"], "no command or topic \"cal\"", "try:   micro help call\n"),
        (&["man", "publsh"], "no command \"publsh\"", "try:   micro man publish\n"),
        (&["man", "nope"], "no command \"nope\"", "try:   micro help\n"),
        (
            &["stream", "greeter"],
            "service and method",
            "try:   micro describe greeter, which shows its methods\n",
        ),
        (&["new", greeter.to_str().unwrap()], "already exists", "try:   another directory; "),
        (
            &["call", "greeter", "A.B", "--endpoint", "other"],
            "no endpoint \"other\"",
            "by id or address of the one that there is, in the registry",
        ),
        (
            &["list", "--registry", "bogus://h"],
            "no registry is named by scheme \"bogus\"",
            "this build knows memory:",
        ),
        (
            &["publish", "a", "b", "--broker", "bogus://h"],
            "no broker is named by URL scheme \"bogus\"",
            "knows memory:",
        ),
    ];
    for (arguments, what, tried) in cases {
        let run = place.run(arguments);
        assert!(matches!(run.code, Some(2 | 3)) && run.out.is_empty(), "{arguments:?}: {run:?}");
        assert!(run.err.contains(what) && run.err.contains(tried), "{arguments:?}: {run:?}");
    }
    let page = place.ok(&["man", "call"]);
    assert!(page.contains("micro\\-call") && page.contains("each\\-node"), "{page}");
}

#[test]
fn a_transport_that_is_no_broker_is_not_passed_over() {
    let place = Place::new();
    for transport in ["grpc", "pigeon://user:secret@loft", "nats://", "http://127.0.0.1:1"] {
        let run = place.run(&["--transport", transport, "list"]);
        assert_eq!(run.code, Some(2), "{transport}: {run:?}");
        assert!(
            run.err.contains("--transport nats://127.0.0.1:4222") && !run.err.contains("secret"),
            "{run:?}"
        );
    }
    for transport in ["http:", "http", "nats://127.0.0.1:1", "amqp://user:secret@127.0.0.1:1"] {
        place.ok(&["--transport", transport, "list"]);
    }
}

#[test]
fn an_address_where_nobody_speaks_grpc_is_told_at_once_and_why() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stranger.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = stranger.accept() {
            stream.write_all(b"HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n").unwrap();
            stream.read_to_end(&mut Vec::new()).ok();
        }
    });
    let place = Place::new();
    for (address, why) in [
        (dead, "is it running, and listening on that address?: tcp connect error: Connection refused"),
        (
            address,
            "this endpoint does not speak HTTP/2 (it answered with \"HTTP/1.1 505 HTTP Version Not Supported\")",
        ),
    ] {
        let began = Instant::now();
        let run = place.run(&["call", &address.to_string(), "Greeter.Hello", "{}"]);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!((run.code, run.err.matches("not sent").count()), (Some(78), 1), "{run:?}");
        assert!(run.err.contains(why), "{run:?}");
    }
}

#[test]
fn a_web_server_of_http2_is_told_from_one_of_grpc() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bound = runtime.block_on(micro_tower::Server::new().bind()).unwrap();
    let address = bound.local_address().to_string();
    let page = tower::service_fn(|_: http::Request<tonic::body::Body>| async {
        let page = http::Response::builder().status(404).header("content-type", "text/html");
        Ok::<_, std::convert::Infallible>(page.body("<html>no</html>".to_owned()).unwrap())
    });
    runtime.spawn(bound.serve_until(page, std::future::pending()));
    let run = Place::new().run(&["call", &address, "Greeter.Hello", "{}"]);
    assert_eq!(run.code, Some(76), "{run:?}");
    let why = "UNIMPLEMENTED: the server does not speak gRPC: it answered with HTTP 404 Not Found and the content-type \"text/html\"";
    assert!(run.err.contains(why), "{run:?}");
}

#[test]
fn a_mistyped_endpoint_is_not_found_and_the_one_meant_is_suggested() {
    let place = Place::new();
    place.ok(&["register", "greeter", "-a", "127.0.0.1:1", "--id", "greeter-1", "--ttl", "0"]);
    for (wanted, hint) in [("greter-1", "--endpoint greeter-1"), ("127.0.0.1:2", "micro get greeter, which")]
    {
        let run = place.run(&["call", "greeter", "Greeter.Hello", "--endpoint", wanted]);
        assert_eq!((run.code, run.out.as_str()), (Some(3), ""), "{run:?}");
        assert!(run.err.contains(&format!("has no endpoint {wanted:?}")), "{run:?}");
        assert!(run.err.contains(&format!("try:   {hint}")), "{run:?}");
    }
}

#[test]
fn an_empty_registry_suggests_to_register_or_to_look_elsewhere() {
    let run = Place::new().run(&["get", "greeter"]);
    assert_eq!(run.code, Some(3));
    assert!(run.err.contains("try:   micro register, or another --registry"), "{run:?}");
}

#[test]
fn what_breaks_a_rule_is_a_usage_error_that_says_which() {
    let place = Place::new();
    let no_endpoint = r#"{"name":"greeter"}"#;
    let whole = r#"{"name":"greeter","endpoints":[{"id":"a","address":"h:1"}]}"#;
    let cases: [(&[&str], &str); 26] = [
        (&["lst"], "a similar subcommand exists: 'list'"),
        (&["get"], "<NAME>"),
        (&["get", "a/b"], "service name \"a/b\""),
        (&["list", "--output", "xml"], "[possible values: table, wide, json, ndjson, yaml, name, original]"),
        (&["list", "--registry", "nosuch://user:hunter2@h"], "scheme \"nosuch\""),
        (&["list", "--registry", "hunter2"], "a URL without a scheme"),
        (&["register", "greeter"], "where the endpoint listens is not said"),
        (&["register", "greeter", "-a", "h:70000"], "port 70000 is not in 1..=65535"),
        (
            &["register", "greeter", "-a", "h:1", "--weight", "-1"],
            "invalid value '-1' for '--weight <WEIGHT>'",
        ),
        (&["api", "--workers", "100000"], "100000 is not in 0..=1024"),
        (&["api", "--tls-cert-file", "/no.pem", "--tls-key-file", "/no.key"], "to read /no.pem and /no.key"),
        (&["register", "a", "-a", "h:1", "--ttl", "0", "--registry", "memory:"], "nothing stays registered"),
        (&["new", "ping"], "the name of something else"),
        (&["new", "."], ". has no name of its own"),
        (&["register", "a/b", "-a", "h:1"], "service name \"a/b\""),
        (&["register", "greeter", "-a", "h:1", "-m", "x"], "a label is KEY=VALUE"),
        (&["register", "greeter", "-a", "h:1", "--ttl", "15"], "a duration is a number and a unit"),
        (&["register", "greeter", "-a", "h:1", "--ttl", "1ms"], "a TTL is 1s at least"),
        (&["register", "{\"name\":1}"], "the JSON is not a record"),
        (&["register", no_endpoint], "has no endpoint"),
        (&["register", whole, "--zone", "eu"], "the record is given twice"),
        (&["register", "@/no/such/file"], "cannot read the record from the file \"/no/such/file\""),
        (&["deregister", "greeter"], "which endpoint is to go is not said"),
        (&["web", "--apps-url", "apps.example"], "it is http:// or https:// and a host"),
        (&["web", "--address", "0.0.0.0:0"], "everybody could use the dashboard"),
        (&["sidecar", "--address", "0.0.0.0:0"], "can be reached by others, and needs a token"),
    ];
    for (arguments, why) in cases {
        let run = place.run(arguments);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{arguments:?}: {run:?}");
        assert!(run.err.contains(why) && !run.err.contains("hunter2"), "{arguments:?}: {run:?}");
    }
    assert_eq!(place.ok(&["list"]), "", "nothing was registered");
}

#[test]
fn a_registry_that_cannot_be_used_is_unavailable() {
    let place = Place::new();
    // A file where the directory should be.
    std::fs::write(place.path("file"), "").unwrap();
    let url = format!("file:{}", place.path("file").display());
    let run = place.run(&["register", "greeter", "-a", "h:1", "--registry", &url]);
    assert_eq!((run.code, run.out.as_str()), (Some(6), ""), "{run:?}");
    assert!(run.err.contains("error: the file registry cannot"), "{run:?}");
    assert!(run.err.contains(&format!("tried: to register \"greeter\", in the registry {url}\n")), "{run:?}");
    assert!(run.err.contains("try:   again later"), "{run:?}");
}

#[test]
fn what_a_registry_is_not_made_for_is_another_failure() {
    let place = Place::new();
    let run = place.run(&["register", "greeter", "-a", "h:1", "--registry", "fixed://h:2"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("the fixed registry cannot"), "{run:?}");
}

#[test]
fn a_name_that_others_chose_is_one_word_of_what_is_suggested() {
    let place = Place::new();
    place.ok(&["register", "greeter;reboot", "-a", "127.0.0.1:1", "--id", "g", "--ttl", "0"]);
    let run = place.run(&["get", "greeter;reboo"]);
    assert!(run.err.ends_with("try:   micro get 'greeter;reboot'\n"), "{run:?}");
}

#[test]
fn a_sidecar_that_is_not_there_is_another_proxy_to_try() {
    let run = Place::new().run(&["list", "--proxy", "127.0.0.1:1"]);
    assert_eq!(run.code, Some(6), "{run:?}");
    assert!(run.err.ends_with("try:   again later, or another --proxy (MICRO_PROXY_ADDRESS)\n"), "{run:?}");
}
