//! A server that does exactly what a test tells it: HTTP/2 by hand.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::{
    RecvStream,
    server::{Connection, SendResponse},
};
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};

pub struct ByHand {
    listener: TcpListener,
    pub address: SocketAddr,
    pub streams: u32,
}

impl ByHand {
    /// Allows `streams` at a time on a connection.
    pub async fn new(streams: u32) -> Self {
        let (listener, address) = super::listen().await;
        Self { listener, address, streams }
    }

    pub async fn accept(&self) -> Connection<TcpStream, Bytes> {
        let (stream, _) = self.listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        h2::server::Builder::new().max_concurrent_streams(self.streams).handshake(stream).await.unwrap()
    }

    /// Accepts connections for ever, and gives each to a task running `f`.
    pub async fn each<F, R>(self, f: F)
    where
        F: Fn(Connection<TcpStream, Bytes>) -> R,
        R: Future<Output = ()> + Send + 'static,
    {
        loop {
            tokio::spawn(f(self.accept().await));
        }
    }
}

pub type Stream = (Request<RecvStream>, SendResponse<Bytes>);

/// Answers, unless the caller has gone.
pub fn answer(stream: &mut Stream) {
    if let Ok(mut body) = stream.1.send_response(Response::new(()), false) {
        let _ = body.send_data(Bytes::from_static(b"answer"), true);
    }
}
