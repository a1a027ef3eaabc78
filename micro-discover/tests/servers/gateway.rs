//! A connection that can be cut, and etcd's JSON gateway.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Stands between a client and a server.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    open: watch::Sender<bool>,
}

impl Proxy {
    pub(crate) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut state = state.clone();
                tokio::spawn(async move {
                    if !*state.borrow_and_update() {
                        return;
                    }
                    let Ok(mut far) = tokio::net::TcpStream::connect(("127.0.0.1", server)).await else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.changed() => {}
                    }
                });
            }
        });
        Self { port, open }
    }

    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }
}

/// Posts JSON and gives the answer's text.
pub(crate) fn post(port: u16, path: &str, json: &str) -> String {
    send(port, &format!("POST {path}"), "", json)
}

/// Sends a request with more header lines, each with its end, and gives the text of an answer that is well.
pub(crate) fn send(port: u16, what: &str, headers: &str, body: &str) -> String {
    let answer = answer(port, what, headers, body).unwrap();
    assert!(answer.contains(" 200 "), "{what} {body}: {answer}");
    answer
}

/// The same, of any answer.
pub(crate) fn answer(port: u16, what: &str, headers: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let length = body.len();
    let request =
        format!("{what} HTTP/1.0\r\nhost: localhost\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Puts any bytes under any key.
pub(crate) fn put(port: u16, key: &str, value: &[u8]) -> String {
    let (key, value) = (STANDARD.encode(key), STANDARD.encode(value));
    post(port, "/v3/kv/put", &format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}"))
}
