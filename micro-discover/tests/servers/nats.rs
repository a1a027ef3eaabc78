//! A NATS server with JetStream.

use std::process::Command;

use tempfile::TempDir;

use super::{Process, directory, free_ports, has, wait_until};

#[derive(Debug)]
pub(crate) struct Nats {
    pub(crate) server: Process,
    pub(crate) port: u16,
    _directory: TempDir,
}

impl Nats {
    /// A server that takes connections, or none where nats-server is missing.
    pub(crate) fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// The same, with more arguments.
    pub(crate) fn with(arguments: &[&str]) -> Option<Self> {
        has("nats-server").then(|| {
            let directory = directory();
            let [port] = free_ports();
            let mut command = Command::new("nats-server");
            command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]);
            command.arg(directory.path().join("js")).args(arguments);
            let started = Self { server: Process::start(command), port, _directory: directory };
            started.wait();
            started
        })
    }

    pub(crate) fn wait(&self) {
        wait_until("NATS takes connections", || {
            std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn bucket_url(&self) -> String {
        format!("nats+kv://127.0.0.1:{}", self.port)
    }
}
