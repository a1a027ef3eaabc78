//! A NATS server with JetStream.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{Process, directory, free_ports, has, wait_until};

#[derive(Debug)]
pub(crate) struct Nats {
    pub(crate) server: Process,
    pub(crate) port: u16,
    settings: Option<PathBuf>,
    _directory: TempDir,
}

impl Nats {
    /// A server that takes connections, or none where nats-server is missing.
    pub(crate) fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// The same, with more arguments.
    pub(crate) fn with(arguments: &[&str]) -> Option<Self> {
        let directory = directory();
        let store = directory.path().join("js");
        Self::run(directory, &[&["-js", "-sd", store.to_str()?][..], arguments].concat())
    }

    /// The same, as a file of settings says, which can be changed.
    pub(crate) fn with_settings(settings: &str) -> Option<Self> {
        let directory = directory();
        let file = directory.path().join("nats.conf");
        write(&file, settings);
        let mut started = Self::run(directory, &["-c", file.to_str()?])?;
        started.settings = Some(file);
        Some(started)
    }

    fn run(directory: TempDir, arguments: &[&str]) -> Option<Self> {
        has("nats-server").then(|| {
            let [port] = free_ports();
            let mut command = Command::new("nats-server");
            command.args(["-a", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
            let started =
                Self { server: Process::start(command), port, settings: None, _directory: directory };
            started.wait();
            started
        })
    }

    /// Changes the settings of a running server.
    pub(crate) fn settle(&self, settings: &str) {
        write(self.settings.as_ref().unwrap(), settings);
        self.server.reload();
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

/// Writes settings to a file; JetStream's are among them, for a server that reads them anew forgets its arguments.
fn write(file: &Path, settings: &str) {
    let store = file.with_file_name("js");
    std::fs::write(file, format!("{settings}jetstream {{ store_dir: {store:?} }}\n")).unwrap();
}
