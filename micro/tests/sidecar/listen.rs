//! A stream of events, read as it comes.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::face::Face;

/// A request whose answer goes on.
pub(crate) struct Listening(BufReader<TcpStream>);

impl Listening {
    /// Asks, and waits for the head of the answer.
    pub(crate) fn start(face: &Face, path: &str) -> Self {
        let mut stream = face.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: sidecar\r\naccept: text/event-stream\r\n\r\n").unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(lines.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        Self(lines)
    }

    /// The data of the next event.
    pub(crate) fn data(&mut self) -> serde_json::Value {
        let began = Instant::now();
        loop {
            let mut line = String::new();
            assert!(began.elapsed() < Duration::from_secs(40), "there is no event, but signs of life");
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream goes on");
            if let Some(data) = line.trim_end().strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}
