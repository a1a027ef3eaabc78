//! Real servers, started by a test on ports nobody uses and ended with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
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

/// A port that was free a moment ago, below those that the system gives to connections: one of these would keep it for as
/// long as it lasts, and RabbitMQ takes seconds until it listens.
pub(crate) fn free_port() -> u16 {
    static DRAWN: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    let port = || 10_000 + (first.wrapping_add(DRAWN.fetch_add(1, Relaxed)) % 22_000) as u16;
    std::iter::repeat_with(port).find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()).unwrap()
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

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some())
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

/// Starts a server and waits until it is ready.
///
/// One that ends is started again: for a moment its port may be somebody's connection, and its name may be known to be
/// the one's that was killed.
fn start(command: &mut Command, ready: impl Fn() -> bool) -> Running {
    let (begun, mut running) = (Instant::now(), Running::start(command));
    while !ready() {
        assert!(begun.elapsed() < START, "{:?} did not start", command.get_program());
        if running.has_ended() {
            running = Running::start(command);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    running
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

    /// As if its disk were another, once it is killed.
    pub(crate) fn lose_store(&self) {
        std::fs::remove_dir_all(self.dir.path().join("js")).unwrap();
    }

    /// Publishes what no client would, and returns once the server has it.
    pub(crate) fn publish_raw(&self, subject: &str, head: &[u8], body: &[u8]) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let (head_length, length) = (head.len(), head.len() + body.len());
        let begin = format!(
            "CONNECT {{\"headers\":true,\"verbose\":false}}\r\nHPUB {subject} {head_length} {length}\r\n"
        );
        stream.write_all(&[begin.as_bytes(), head, body, b"\r\nPING\r\n"].concat()).unwrap();
        let mut lines = BufReader::new(stream).lines();
        assert!(lines.any(|line| line.unwrap() == "PONG"));
    }

    fn run(program: &Path, dir: &Path, port: u16) -> Running {
        let (store, log) = (dir.join("js"), dir.join("log"));
        let mut command = Command::new(program);
        command
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
            .arg(store)
            .arg("-l")
            .arg(log);
        start(&mut command, || greets(port, b"", b"INFO "))
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

/// RabbitMQ, with an epmd of its own so that nothing outlives the test.
#[derive(Debug)]
pub(crate) struct RabbitServer {
    dir: TempDir,
    port: u16,
    distribution: u16,
    // Fields are dropped in this order: the broker goes before its epmd.
    running: Running,
    epmd: Option<Running>,
    epmd_port: u16,
}

impl RabbitServer {
    pub(crate) fn start() -> Option<Self> {
        Self::cluster::<1>().map(|[alone]| alone)
    }

    /// So many servers that know each other; the first one runs what they find each other by.
    pub(crate) fn cluster<const SIZE: usize>() -> Option<[Self; SIZE]> {
        let (Some(program), Some(epmd)) = (Self::program(), find("epmd")) else {
            skipped("rabbitmq-server");
            return None;
        };
        let (ports, epmd_port) = ([(); SIZE].map(|()| free_port()), free_port());
        let mut command = Command::new(epmd);
        let epmd = Running::start(command.args(["-port", &epmd_port.to_string(), "-address", "127.0.0.1"]));
        let mut epmd = Some(epmd);
        let servers = ports.map(|port| {
            let dir = tempfile::tempdir().unwrap();
            let mut config = [
                format!("listeners.tcp.1 = 127.0.0.1:{port}"),
                "num_acceptors.tcp = 2".to_owned(),
                "loopback_users = none".to_owned(),
                "disk_free_limit.absolute = 50MB".to_owned(),
                "vm_memory_high_watermark.absolute = 512MB".to_owned(),
            ]
            .join("\n");
            if SIZE > 1 {
                config += "\ncluster_formation.peer_discovery_backend = classic_config";
                for (number, port) in ports.iter().enumerate() {
                    let node = format!("classic_config.nodes.{} = {}", number + 1, Self::node(*port));
                    config += &format!("\ncluster_formation.{node}");
                }
            }
            std::fs::write(dir.path().join("rabbitmq.conf"), config + "\n").unwrap();
            std::fs::write(dir.path().join("plugins"), "[].").unwrap();
            let distribution = free_port();
            let running = Self::run(&program, dir.path(), [port, distribution, epmd_port]);
            Self { dir, port, distribution, running, epmd: epmd.take(), epmd_port }
        });
        for port in ports {
            assert!(servers.iter().all(|server| server.knows(port)), "they have not found each other");
        }
        Some(servers)
    }

    /// Whether it counts the server at this port among its cluster.
    fn knows(&self, port: u16) -> bool {
        let nodes = self.dir.path().join("mnesia").join(Self::node(self.port)).join("cluster_nodes.config");
        std::fs::read_to_string(nodes).unwrap().contains(&Self::node(port))
    }

    fn node(port: u16) -> String {
        format!("micro{port}@localhost")
    }

    /// The server itself: the command on PATH changes user first.
    fn program() -> Option<PathBuf> {
        let versions = std::fs::read_dir("/usr/lib/rabbitmq/lib").ok()?;
        let mut programs =
            versions.filter_map(|version| Some(version.ok()?.path().join("sbin/rabbitmq-server")));
        programs.find(|program| program.is_file())
    }

    fn run(program: &Path, dir: &Path, [port, distribution, epmd_port]: [u16; 3]) -> Running {
        let mut command = Command::new(program);
        command
            .env("HOME", dir)
            .env("ERL_EPMD_PORT", epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", Self::node(port))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", dir.join("config"))
            .env("RABBITMQ_MNESIA_BASE", dir.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", dir.join("log"))
            .env("RABBITMQ_LOGS", dir.join("log/rabbit.log"))
            .env("RABBITMQ_PID_FILE", dir.join("pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("plugins"))
            .env("RABBITMQ_NODE_PORT", port.to_string())
            .env("RABBITMQ_DIST_PORT", distribution.to_string())
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-setcookie micro -kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none",
            );
        start(&mut command, || greets(port, b"AMQP\0\0\x09\x01", b"\x01\0\0"))
    }
}

/// Publishes what no client would, and returns once the server has it: `properties` begin with their flags.
pub(crate) fn publish_raw(port: u16, exchange: &str, key: &[u8], properties: &[u8], body: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let frame = |kind: u8, channel: u8, payload: &[&[u8]]| {
        let payload = payload.concat();
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, channel][..], &length, &payload, b"\xce"].concat()
    };
    let answer = |stream: &mut TcpStream, question: Vec<u8>| {
        stream.write_all(&question).unwrap();
        let mut head = [0; 7];
        stream.read_exact(&mut head).unwrap();
        let mut payload = vec![0; u32::from_be_bytes(head[3..].try_into().unwrap()) as usize + 1];
        stream.read_exact(&mut payload).unwrap();
        payload
    };
    let short = |text: &[u8]| [&[u8::try_from(text.len()).unwrap()][..], text].concat();
    answer(&mut stream, b"AMQP\0\0\x09\x01".to_vec());
    let login = frame(1, 0, &[b"\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US"]);
    let limits = answer(&mut stream, login);
    let limits = frame(1, 0, &[b"\0\x0a\0\x1f", &limits[4..10], b"\0\0"]);
    let open = frame(1, 0, &[b"\0\x0a\0\x28\x01/\0\0"]);
    answer(&mut stream, [limits, open].concat());
    answer(&mut stream, frame(1, 1, &[b"\0\x14\0\x0a\0"]));
    let length = u64::try_from(body.len()).unwrap().to_be_bytes();
    let published = [
        frame(1, 1, &[b"\0\x3c\0\x28\0\0", &short(exchange.as_bytes()), &short(key), b"\0"]),
        frame(2, 1, &[b"\0\x3c\0\0", &length, properties]),
        if body.is_empty() { Vec::new() } else { frame(3, 1, &[body]) },
        frame(1, 1, &[b"\0\x14\0\x28\0\xc8\0\0\0\0\0"]),
    ];
    // A channel that was closed in peace, and not by the server.
    assert_eq!(answer(&mut stream, published.concat())[..4], *b"\0\x14\0\x29");
}

impl Server for RabbitServer {
    fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn pid(&self) -> u32 {
        // The script that was started waits for the virtual machine, which writes its own pid.
        std::fs::read_to_string(self.dir.path().join("pid")).unwrap().trim().parse().unwrap()
    }

    fn kill(&mut self) {
        signal(self.pid(), "KILL");
        self.running.kill();
    }

    fn restart(&mut self) {
        let ports = [self.port, self.distribution, self.epmd_port];
        self.running = Self::run(&Self::program().unwrap(), self.dir.path(), ports);
    }
}

impl Drop for RabbitServer {
    fn drop(&mut self) {
        self.kill();
        self.epmd.iter_mut().for_each(Running::kill);
    }
}
