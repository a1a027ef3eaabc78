//! The gateway's process, and a client that says exactly what a test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType};
use rustix::process::Signal;

use crate::program::{Place, Running};

/// A gateway that runs until the end of the test.
pub(crate) struct Face {
    pub(crate) address: SocketAddr,
    running: Running,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Face {
    /// Starts `micro api` with `arguments` over the registry of `place`.
    pub(crate) fn start(place: &Place, arguments: &[&str]) -> Self {
        Self::of(place, "api", arguments)
    }

    /// Starts it at `address`, where one may have been before.
    pub(crate) fn at(place: &Place, address: &str, arguments: &[&str]) -> Self {
        let running = place.start(&[&["api", "--address", address], arguments].concat());
        Self::running("api", running)
    }

    /// The same with these variables in its environment.
    pub(crate) fn with(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let arguments = [&["api", "--address", "127.0.0.1:0"], arguments].concat();
        let running = place.spawn(place.command(&arguments).envs(variables.iter().copied()));
        Self::running("api", running)
    }

    /// The same for another face, such as `sidecar`.
    pub(crate) fn of(place: &Place, face: &str, arguments: &[&str]) -> Self {
        let running = place.start(&[&[face, "--address", "127.0.0.1:0"], arguments].concat());
        Self::running(face, running)
    }

    /// One that was started already.
    pub(crate) fn running(face: &str, mut running: Running) -> Self {
        let line = running.line();
        let address = line.strip_prefix(face).and_then(|rest| rest.strip_prefix(" listens on http://"));
        let address = address.expect("the first line says where");
        Self { address: address.parse().unwrap(), running }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends `request` as it is, and reads until the gateway closes.
    pub(crate) fn say(&self, request: impl AsRef<[u8]>) -> Vec<u8> {
        let mut stream = self.connect();
        // The gateway may close before it has read everything.
        let _ = stream.write_all(request.as_ref());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    /// One request with `headers`, each a line, and `body`.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n{headers}{length}\r\n"
        );
        Answer::of(&self.say([head.as_bytes(), body].concat()))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", b"")
    }

    /// Asks for `path` until the answer's status is `status`.
    pub(crate) fn until(&self, path: &str, status: u16) {
        let began = Instant::now();
        while self.get(path).status != status {
            assert!(began.elapsed() < Duration::from_secs(30), "{path}: {:?}", self.get(path));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Bytes of memory that the gateway's process has.
    pub(crate) fn memory(&self) -> u64 {
        self.running.memory()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.running.has_ended()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// What it wrote to standard error, once it has ended.
    #[allow(dead_code, reason = "the tests of the sidecar read it")]
    pub(crate) fn errors(&mut self) -> String {
        self.running.errors()
    }

    /// Waits for its end: its exit code, and what it still wrote.
    pub(crate) fn end(&mut self) -> (Option<i32>, String) {
        let (status, rest) = self.running.end();
        (status.code(), rest)
    }
}

/// A connection to `address` from `own`, another address of this machine.
#[allow(dead_code, reason = "the tests of the sidecar have one address")]
pub(crate) fn connect_from(own: [u8; 4], address: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((own, 0))).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

impl Answer {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = bytes[end + 4..].to_vec();
        if head.contains("\r\ntransfer-encoding: chunked") {
            body = unchunked(&body);
        }
        Self { status, head, body }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The data of a chunked body; what is missing at its end is not made up.
fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if size == 0 || rest.len() < line + 2 + size + 2 {
            break;
        }
        data.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
    data
}
