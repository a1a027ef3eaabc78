//! Servers that speak go-micro's RPC, by their record.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use futures_util::stream::Stream;
use micro_discover::Method;
use micro_tower::wire::{Requests, Router};
use micro_tower::{Fault, Service};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::program::Place;

async fn hello(request: Value) -> Result<Value, Fault> {
    match request["name"].as_str() {
        Some(name) => Ok(json!({ "greeting": format!("Hello {name}") })),
        None => Err(Fault::bad_request("greeter.hello", "name requested")),
    }
}

async fn echo(requests: Requests<Value>) -> Result<impl Stream<Item = Result<Value, Fault>>, Fault> {
    Ok(requests)
}

/// A server of the test's registry, in the words of go-micro.
fn serve(runtime: &Runtime, place: &Place) {
    let registry = micro_discover::open(&place.url()).unwrap();
    let builder = Service::builder("greeter").version("1.0.0").id("greeter-1").registry(registry).wire();
    let builder = builder
        .method(Method::new("Greeter.Hello"))
        .method(Method::new("Greeter.Echo").metadata("stream", "true"));
    let (service, router) =
        (builder.build().unwrap(), Router::new().route("Greeter.Hello", hello).stream("Greeter.Echo", echo));
    runtime.spawn(service.run_until(router, std::future::pending()));
    let started = std::time::Instant::now();
    while place.ok(&["list", "services"]).is_empty() {
        assert!(started.elapsed().as_secs() < 60, "it is not announced");
    }
}

#[test]
fn a_service_of_go_micro_is_called_checked_and_measured_by_its_record() {
    let (runtime, place) = (Runtime::new().unwrap(), Place::new());
    serve(&runtime, &place);
    let answer = place.ok(&["call", "greeter", "Greeter.Hello", "name=John"]);
    assert_eq!(answer, "{\n\t\"greeting\": \"Hello John\"\n}\n");
    let run = place.run(&["call", "greeter", "Greeter.Hello", "{}"]);
    assert_eq!(run.code, Some(67), "{run:?}");
    assert!(run.err.contains("INVALID_ARGUMENT: ") && run.err.contains("name requested"), "{run:?}");
    let run = place.run(&["call", "greeter", "Greeter.Hello", "{"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    let echoed =
        place.feed(&["stream", "greeter", "Greeter.Echo", "-d", "-", "-o", "json"], "{\"n\":1}{\"n\":2}");
    assert_eq!((echoed.code, echoed.out.as_str()), (Some(0), "{\"n\":1}\n{\"n\":2}\n"), "{echoed:?}");

    let health = place.ok(&["health", "greeter", "--timeout", "30s", "-o", "original"]);
    assert!(
        health.starts_with(
            "service  greeter\n\nversion 1.0.0\n\nnode\t\taddress:port\t\tstatus\ngreeter-1\t\t"
        ),
        "{health}"
    );
    assert!(health.ends_with("\t\tok\n"), "{health}");
    let stats: Value =
        serde_json::from_str(&place.ok(&["stats", "greeter", "--timeout", "30s", "-o", "json"])).unwrap();
    assert!(
        stats[0]["requests"].as_u64().unwrap() >= 3 && stats[0]["memory_bytes"].as_u64().unwrap() > 0,
        "{stats}"
    );
}

/// Answers each request on `stream` with a frame of proto-rpc that is `frame`.
fn answer(mut stream: TcpStream, frame: &[u8]) -> std::io::Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some((_, number)) = line.to_lowercase().split_once("content-length:") {
                length = number.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        requests.read_exact(&mut vec![0; length])?;
        let head = format!("content-type: application/proto-rpc\r\ncontent-length: {}", frame.len());
        stream.write_all(&[format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes(), frame].concat())?;
    }
}

/// R28 of go-micro: a length that a frame states is believed.
#[test]
fn a_length_that_an_answer_states_and_does_not_have_is_an_error() {
    let place = Place::new();
    for (at, frame) in
        [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x05abc", b"\0\0\0\0\x7f\xff\xff\xff{}"].into_iter().enumerate()
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (name, address) = (format!("liar-{at}"), listener.local_addr().unwrap().to_string());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || answer(stream, frame));
            }
        });
        let labels = ["-m", "protocol=mucp", "--method", "Liar.Call", "--ttl", "0"];
        place.ok(&[&["register", &name, "--address", &address][..], &labels].concat());
        let run = place.run(&["call", &name, "Liar.Call", "{}"]);
        assert_eq!((run.code, run.out.as_str()), (Some(77), ""), "{run:?}");
        assert!(run.err.contains("INTERNAL: ") && run.err.contains(" bytes "), "{run:?}");
    }
}
