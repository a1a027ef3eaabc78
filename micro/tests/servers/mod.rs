//! Real registries, which a test starts and stops.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A registry's process, which ends with the test.
pub(crate) struct Server {
    pub(crate) url: String,
    program: &'static str,
    arguments: Vec<String>,
    child: Child,
    _dir: TempDir,
}

impl Server {
    fn start(url: String, program: &'static str, arguments: Vec<String>, dir: TempDir) -> Self {
        let child = spawn(program, &arguments);
        Self { url, program, arguments, child, _dir: dir }
    }

    /// Ends without a farewell.
    pub(crate) fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Comes back with what it had.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.program, &self.arguments);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(program: &str, arguments: &[String]) -> Child {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Whether `program` can be run; says so when a test is skipped, which CI does not allow.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    if !found {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs {program} on PATH");
        println!("skipped: no {program} on PATH");
    }
    found
}

pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// etcd; none where it cannot be run.
pub(crate) fn etcd() -> Option<Server> {
    if !has("etcd") {
        return None;
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
    let arguments = arguments.iter().map(ToString::to_string).collect();
    Some(Server::start(client.replace("http:", "etcd:"), "etcd", arguments, dir))
}

/// A NATS server with JetStream, whose bucket is the registry; none where it cannot be run.
pub(crate) fn nats() -> Option<Server> {
    if !has("nats-server") {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let [port] = free_ports();
    let arguments = ["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd", dir.path().to_str().unwrap()];
    let arguments = arguments.iter().map(ToString::to_string).collect();
    Some(Server::start(format!("nats+kv://127.0.0.1:{port}"), "nats-server", arguments, dir))
}

/// Consul's agent; none where it cannot be run.
pub(crate) fn consul() -> Option<Server> {
    if !has("consul") {
        return None;
    }
    let [http, serf_lan, serf_wan, rpc] = free_ports();
    let arguments = vec![
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
    let dir = tempfile::tempdir().unwrap();
    Some(Server::start(format!("consul://127.0.0.1:{http}"), "consul", arguments, dir))
}
