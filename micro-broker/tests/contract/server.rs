//! Real servers, started by a test on ports nobody uses and ended with it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Long enough for a server to start on a busy machine.
const START: Duration = Duration::from_secs(120);

/// Says that a program is missing; with `CI=true` that is a failure, for nothing is proven by a test that did not run.
pub(crate) fn skipped(program: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "no {program} on PATH: run .ci/servers");
    println!("skipped: no {program} on PATH");
}

/// A program on PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A child process that does not outlive its owner.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal to one process.
pub(crate) fn signal(pid: u32, signal: &str) {
    let _ = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).stderr(Stdio::null()).status();
}

fn wait_until(what: &str, ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < START, "{what} did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether what listens on a port answers `hello` with `answer`.
fn greets(port: u16, hello: &[u8], answer: &[u8]) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut heard = vec![0; answer.len()];
    stream.write_all(hello).is_ok() && stream.read_exact(&mut heard).is_ok() && heard == answer
}

/// A server that can be killed, frozen, and started again on the same port with the same data.
pub(crate) trait Server: Send + Sync {
    fn url(&self) -> String;
    fn port(&self) -> u16;
    fn pid(&self) -> u32;
    /// As a power failure would end it.
    fn kill(&mut self);
    fn restart(&mut self);
}

/// nats-server with JetStream.
#[derive(Debug)]
pub(crate) struct NatsServer {
    dir: TempDir,
    port: u16,
    running: Running,
}

impl NatsServer {
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = find("nats-server") else {
            skipped("nats-server");
            return None;
        };
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let running = Self::run(&program, dir.path(), port);
        Some(Self { dir, port, running })
    }

    fn run(program: &Path, dir: &Path, port: u16) -> Running {
        let (store, log) = (dir.join("js"), dir.join("log"));
        let mut command = Command::new(program);
        command
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
            .arg(store)
            .arg("-l")
            .arg(log);
        let running = Running::start(&mut command);
        wait_until("nats-server", || greets(port, b"", b"INFO "));
        running
    }
}

impl Server for NatsServer {
    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn pid(&self) -> u32 {
        self.running.pid()
    }

    fn kill(&mut self) {
        self.running.kill();
    }

    fn restart(&mut self) {
        self.running = Self::run(&find("nats-server").unwrap(), self.dir.path(), self.port);
    }
}
