//! An API server whose every answer the test writes: real sockets, any fault.
#![allow(dead_code, reason = "each test uses what it needs")]

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// A connection, encrypted or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Listens on a free port; the test takes one request after the other.
pub(crate) struct ApiServer {
    listener: TcpListener,
}

/// A request, and the connection to answer it on.
pub(crate) struct Exchange {
    /// Method, path and query.
    pub(crate) target: String,
    /// The head as it came.
    pub(crate) head: String,
    /// What came with it.
    pub(crate) body: String,
    stream: Box<dyn Wire>,
}

impl ApiServer {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn config(&self) -> kube::Config {
        kube::Config::new(format!("http://{}", self.listener.local_addr().unwrap()).parse().unwrap())
    }

    pub(crate) async fn next(&self) -> Exchange {
        let wait = Duration::from_secs(30);
        tokio::time::timeout(wait, self.take()).await.expect("a request comes")
    }

    /// Nobody asks within `wait`.
    pub(crate) async fn quiet(&self, wait: Duration) {
        if let Ok(exchange) = tokio::time::timeout(wait, self.take()).await {
            panic!("unexpected: {}", exchange.target);
        }
    }

    pub(crate) async fn take(&self) -> Exchange {
        let (stream, _) = self.listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        Exchange::read(stream).await.unwrap()
    }
}

impl Exchange {
    /// Reads a whole request.
    pub(crate) async fn read(stream: impl Wire + 'static) -> io::Result<Self> {
        let mut stream: Box<dyn Wire> = Box::new(stream);
        let mut read = Vec::new();
        let end = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            more(&mut stream, &mut read).await?;
        };
        let text = String::from_utf8_lossy(&read[..end]).into_owned();
        let head = text.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        while read.len() < end + length {
            more(&mut stream, &mut read).await?;
        }
        let body = String::from_utf8_lossy(&read[end..]).into_owned();
        let target = text.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
        Ok(Self { target, head, body, stream })
    }

    pub(crate) fn is_watch(&self) -> bool {
        self.target.contains("watch=true")
    }

    pub(crate) fn is_watch_list(&self) -> bool {
        self.target.contains("sendInitialEvents=true")
    }

    /// Answers with a whole body.
    pub(crate) async fn answer(self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        self.raw(&format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
        ))
        .await;
    }

    pub(crate) async fn json(self, body: &str) {
        self.answer("200 OK", "content-type: application/json\r\n", body).await;
    }

    /// Answers with these bytes, then closes. Who asked may have gone.
    pub(crate) async fn raw(mut self, bytes: &str) {
        if self.stream.write_all(bytes.as_bytes()).await.is_ok() {
            self.stream.shutdown().await.ok();
        }
    }

    /// Answers these bytes, `size` at a time.
    pub(crate) async fn pieces(mut self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size) {
            self.stream.write_all(piece).await.unwrap();
            self.stream.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        self.stream.shutdown().await.ok();
    }

    /// Starts a stream of events.
    pub(crate) async fn open(mut self) -> Events {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                    connection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        self.stream.write_all(head.as_bytes()).await.ok();
        Events { stream: self.stream }
    }
}

async fn more(stream: &mut Box<dyn Wire>, read: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(read).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// The open answer to a watch; dropping it cuts the connection.
pub(crate) struct Events {
    stream: Box<dyn Wire>,
}

impl Events {
    pub(crate) async fn text(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.stream.write_all(chunk.as_bytes()).await.unwrap();
    }

    pub(crate) async fn event(&mut self, kind: &str, object: &str) {
        assert!(self.tell(kind, object).await, "somebody hears it");
    }

    /// Whether there was somebody to hear it.
    pub(crate) async fn tell(&mut self, kind: &str, object: &str) -> bool {
        let line = format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n");
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        self.stream.write_all(chunk.as_bytes()).await.is_ok()
    }

    pub(crate) async fn bookmark(&mut self, version: u64, end: bool) {
        let note = if end { r#""annotations":{"k8s.io/initial-events-end":"true"},"# } else { "" };
        let object = format!(r#"{{"metadata":{{{note}"resourceVersion":"{version}"}},"endpoints":null}}"#);
        self.tell("BOOKMARK", &object).await;
    }

    /// The client has gone.
    pub(crate) async fn closed(&mut self) {
        tokio::time::timeout(Duration::from_secs(30), self.gone()).await.expect("in time");
    }

    /// Waits until the client has gone, who says nothing more.
    pub(crate) async fn gone(&mut self) {
        let read = self.stream.read(&mut [0; 16]).await;
        assert!(matches!(read, Ok(0) | Err(_)), "nothing more is said");
    }

    /// The clean end of a watch.
    pub(crate) async fn end(mut self) {
        if self.stream.write_all(b"0\r\n\r\n").await.is_ok() {
            self.stream.shutdown().await.ok();
        }
    }
}

/// A slice of the Service `greeter` with these ready addresses.
pub(crate) fn slice(name: &str, uid: &str, version: u64, hosts: &[&str]) -> String {
    let endpoints: Vec<_> = hosts
        .iter()
        .map(|host| format!(r#"{{"addresses":["10.0.0.{host}"],"conditions":{{"ready":true}}}}"#))
        .collect();
    format!(
        r#"{{"metadata":{{"name":"{name}","uid":"{uid}","resourceVersion":"{version}",
        "labels":{{"kubernetes.io/service-name":"greeter"}}}},"addressType":"IPv4",
        "endpoints":[{}],"ports":[{{"name":"grpc","port":80,"protocol":"TCP"}}]}}"#,
        endpoints.join(",")
    )
    .replace('\n', "")
}

/// A page of a list.
pub(crate) fn page(version: u64, next: &str, slices: &[String]) -> String {
    let items = slices.join(",");
    format!(r#"{{"metadata":{{"resourceVersion":"{version}","continue":"{next}"}},"items":[{items}]}}"#)
}
