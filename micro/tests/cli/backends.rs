//! The same commands over real registries, which the test starts and stops.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::program::Place;

/// A registry's process, which ends with the test.
struct Server(Child);

impl Server {
    fn start(program: &str, arguments: &[String]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Whether `program` can be run; says so when a test is skipped, which CI does not allow.
fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    if !found {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs {program} on PATH");
        println!("skipped: no {program} on PATH");
    }
    found
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn every_command_works_over(url: &str) {
    let place = Place::new();
    let registry = ["--registry", url];
    let started = Instant::now();
    while place.run(&[&["list"][..], &registry].concat()).code != Some(0) {
        assert!(started.elapsed() < Duration::from_secs(60), "{url} does not come up");
        std::thread::sleep(Duration::from_millis(100));
    }

    let mut watch = place.start(&[&["watch", "greeter"][..], &registry].concat());
    let register =
        ["register", "greeter", "--address", "127.0.0.1:1", "--id", "a", "--version", "1.0", "--zone", "eu"];
    let mut held = place.start(&[&register[..], &registry].concat());
    assert_eq!(held.line(), "registered greeter  a  127.0.0.1:1");
    assert_eq!(watch.line(), "added    greeter  a  127.0.0.1:1  zone=eu");
    let listed = place.ok(&[&["list"][..], &registry].concat());
    assert_eq!(listed, "NAME     VERSIONS  ENDPOINTS\ngreeter  1.0       1\n");
    let record = place.ok(&[&["get", "greeter", "--output", "json"][..], &registry].concat());
    assert!(record.contains("\"id\": \"a\"") && record.contains("\"zone\": \"eu\""), "{record}");
    let run = place.run(&[&["get", "greter"][..], &registry].concat());
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.err.contains("try:   micro get greeter"), "{run:?}");

    held.signal(Signal::INT);
    let (status, rest) = held.end();
    assert_eq!((status.code(), rest.as_str()), (Some(0), "deregistered greeter  a  127.0.0.1:1\n"));
    assert_eq!(watch.line(), "removed  greeter  a  127.0.0.1:1  zone=eu");
    assert_eq!(place.ok(&[&["list"][..], &registry].concat()), "");

    // What is found there is called there.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = runtime.block_on(crate::peer::serve("a", crate::peer::Reflection::V1));
    let echo = ["register", "echo", "--address", &address, "--id", "a", "--ttl", "0"];
    place.ok(&[&echo[..], &registry].concat());
    let call = ["call", "echo", "Echo.Unary", "text=hi", "--output", "json"];
    assert_eq!(place.ok(&[&call[..], &registry].concat()), "{\"text\":\"hi\"}\n");
    let stream = ["stream", "echo", "Echo.Many", "number:=3", "--output", "json"];
    assert_eq!(place.ok(&[&stream[..], &registry].concat()).lines().count(), 3);
    assert!(place.ok(&[&["health", "echo"][..], &registry].concat()).contains("serving"));
    place.ok(&[&["deregister", "echo", "--all"][..], &registry].concat());

    place.ok(&[&register[..], &["--ttl", "0"], &registry].concat());
    place.ok(&[&["deregister", "greeter", "--id", "a"][..], &registry].concat());
    assert_eq!(place.ok(&[&["list"][..], &registry].concat()), "");
}

#[test]
fn every_command_works_over_etcd() {
    if !has("etcd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [client, peer] = free_ports();
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let arguments = [
        "--data-dir",
        dir.path().to_str().unwrap(),
        "--listen-client-urls",
        &client,
        "--advertise-client-urls",
        &client,
        "--listen-peer-urls",
        &peer,
        "--initial-advertise-peer-urls",
        &peer,
        "--initial-cluster",
        &format!("default={peer}"),
    ];
    let _server = Server::start("etcd", &arguments.map(str::to_owned));
    every_command_works_over(&client.replace("http:", "etcd:"));
}

#[test]
fn every_command_works_over_consul() {
    if !has("consul") {
        return;
    }
    let [http, serf_lan, serf_wan, rpc] = free_ports();
    let arguments = [
        "agent".to_owned(),
        "-dev".to_owned(),
        "-bind=127.0.0.1".to_owned(),
        format!("-http-port={http}"),
        "-dns-port=-1".to_owned(),
        "-grpc-port=-1".to_owned(),
        format!("-serf-lan-port={serf_lan}"),
        format!("-serf-wan-port={serf_wan}"),
        format!("-server-port={rpc}"),
    ];
    let _server = Server::start("consul", &arguments);
    every_command_works_over(&format!("consul://127.0.0.1:{http}"));
}

#[test]
fn a_server_that_is_not_there_is_unavailable_and_no_secret_is_repeated() {
    let place = Place::new();
    for url in ["etcd://user:hunter2@127.0.0.1:1", "consul://127.0.0.1:1?token=hunter2"] {
        let run = place.run(&["list", "--registry", url]);
        assert_eq!((run.code, run.out.as_str()), (Some(6), ""), "{run:?}");
        assert!(run.err.contains("tried: to list services, in the registry "), "{run:?}");
        assert!(run.err.contains("Connection refused") && !run.err.contains("hunter2"), "{run:?}");
    }
}
