//! A broker for the length of an example: a child process on a free port of the loopback, gone with its handle.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tempfile::TempDir;

/// Long enough for RabbitMQ on a busy machine.
const START: Duration = Duration::from_secs(120);

/// A NATS or RabbitMQ server.
#[derive(Debug)]
pub struct Broker {
    url: String,
    directory: TempDir,
    // Dropped in this order: RabbitMQ goes before its epmd.
    children: Vec<Running>,
}

/// A process that does not outlive its handle.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Broker {
    /// Starts `nats-server`.
    ///
    /// # Errors
    ///
    /// When there is none on PATH, or it does not start.
    pub fn nats() -> anyhow::Result<Self> {
        let program = find("nats-server")?;
        let (directory, port) = (directory()?, free_port()?);
        let mut command = Command::new(program);
        command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-l"]).arg(directory.path().join("log"));
        let server = up(&mut command, port, b"", b"INFO ").context("nats-server does not start")?;
        let children = vec![server];
        Ok(Self { url: format!("nats://127.0.0.1:{port}"), directory, children })
    }

    /// Starts RabbitMQ with a port mapper of its own, so that nothing outlives it.
    ///
    /// # Errors
    ///
    /// When it is not installed, or does not start.
    pub fn rabbitmq() -> anyhow::Result<Self> {
        let (program, epmd) = (rabbitmq_server()?, find("epmd")?);
        let (directory, port) = (directory()?, free_port()?);
        let (mapper, distribution) = (free_port()?.to_string(), free_port()?.to_string());
        let mut command = Command::new(epmd);
        let epmd = start(command.args(["-port", &mapper, "-address", "127.0.0.1"]))?;
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("rabbitmq.conf"), format!("listeners.tcp.1 = 127.0.0.1:{port}\n"))?;
        std::fs::write(at("plugins"), "[].")?;
        let mut command = Command::new(program);
        command
            .envs([("ERL_EPMD_PORT", &*mapper), ("ERL_EPMD_ADDRESS", "127.0.0.1")])
            .envs([("RABBITMQ_NODE_PORT", &*port.to_string()), ("RABBITMQ_DIST_PORT", &distribution)])
            .envs([("RABBITMQ_NODENAME", &*format!("micro{port}@localhost"))])
            .envs([("RABBITMQ_CONF_ENV_FILE", "/dev/null")])
            .envs([
                ("HOME", directory.path().to_owned()),
                ("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf")),
                ("RABBITMQ_GENERATED_CONFIG_DIR", at("config")),
                ("RABBITMQ_MNESIA_BASE", at("mnesia")),
                ("RABBITMQ_LOG_BASE", at("log")),
                ("RABBITMQ_LOGS", at("log/rabbit.log")),
                ("RABBITMQ_PID_FILE", at("pid")),
                ("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins")),
            ])
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-setcookie micro -kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none",
            );
        let mut broker = Self { url: format!("amqp://127.0.0.1:{port}"), directory, children: vec![epmd] };
        let server = up(&mut command, port, b"AMQP\0\0\x09\x01", b"\x01\0\0");
        broker.children.insert(0, server.context("RabbitMQ does not start")?);
        Ok(broker)
    }

    /// The broker, for a test; nothing, said aloud, where it cannot be started.
    ///
    /// # Panics
    ///
    /// Then, if `CI` is `true`: nothing is proven by a test that did not run.
    pub fn or_skip(started: anyhow::Result<Self>) -> Option<Self> {
        let Err(why) = &started else { return started.ok() };
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{why:#}");
        println!("skipped: {why:#}");
        None
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // RabbitMQ's script waits for the virtual machine, which writes its own process id.
        let pid = std::fs::read_to_string(self.directory.path().join("pid"));
        if let Some(pid) = pid.ok().and_then(|pid| rustix::process::Pid::from_raw(pid.trim().parse().ok()?)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        self.children.clear();
    }
}

/// A program on PATH.
fn find(program: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|directory| directory.join(program));
    files.find(|file| file.is_file()).with_context(|| format!("no {program} on PATH: see .ci/servers"))
}

/// RabbitMQ itself: the command on PATH changes user first.
fn rabbitmq_server() -> anyhow::Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/rabbitmq/lib").into_iter().flatten().flatten();
    let mut programs = versions.map(|version| version.path().join("sbin/rabbitmq-server"));
    programs.find(|program| program.is_file()).context("RabbitMQ is not installed: see .ci/servers")
}

fn directory() -> anyhow::Result<TempDir> {
    tempfile::Builder::new().prefix("broker").tempdir().context("no directory for a broker")
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn start(command: &mut Command) -> anyhow::Result<Running> {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let program = Path::new(quiet.get_program()).display().to_string();
    Ok(Running(quiet.spawn().with_context(|| format!("{program} cannot be started"))?))
}

/// Starts a server and waits until what listens on its port answers `hello` with `answer`.
///
/// A server that ends is started again: for a moment, its port may be somebody's connection.
fn up(command: &mut Command, port: u16, hello: &[u8], answer: &[u8]) -> anyhow::Result<Running> {
    let greets = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(hello)?;
        let mut heard = vec![0; answer.len()];
        stream.read_exact(&mut heard)?;
        Ok(heard == answer)
    };
    let (begun, mut running) = (Instant::now(), start(command)?);
    while !greets().unwrap_or(false) {
        anyhow::ensure!(begun.elapsed() < START, "nothing answers on port {port} after {START:?}");
        if running.0.try_wait()?.is_some() {
            running = start(command)?;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(running)
}
