//! Connects, and says a few words if told to.

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::BoxError;

use super::check::Check;
use crate::condition::Condition;

/// Opens a TCP connection of its own; the endpoint is well if that succeeds, and if what it sends begins as
/// expected.
#[derive(Clone)]
#[must_use]
pub struct TcpCheck<F> {
    address: F,
    send: Bytes,
    expect: Bytes,
}

impl<F> TcpCheck<F> {
    /// Connects to the host and port that `address` says of an endpoint's service.
    pub fn new<S>(address: F) -> Self
    where
        F: Fn(&S) -> Option<String>,
    {
        Self { address, send: Bytes::new(), expect: Bytes::new() }
    }

    /// Sends these bytes first.
    pub fn send(mut self, bytes: impl Into<Bytes>) -> Self {
        self.send = bytes.into();
        self
    }

    /// Expects these bytes first.
    pub fn expect(mut self, bytes: impl Into<Bytes>) -> Self {
        self.expect = bytes.into();
        self
    }
}

impl<S, F> Check<S> for TcpCheck<F>
where
    F: Fn(&S) -> Option<String> + Send + Sync + 'static,
{
    fn ask(&self, service: S) -> BoxFuture<'static, Result<Condition, BoxError>> {
        let address = (self.address)(&service);
        let (send, expect) = (self.send.clone(), self.expect.clone());
        Box::pin(async move {
            let address = address.ok_or("the endpoint has no TCP address")?;
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(&send).await?;
            let mut answer = vec![0; expect.len()];
            stream.read_exact(&mut answer).await?;
            if answer == expect {
                Ok(Condition::Well)
            } else {
                Err("the endpoint says something else".into())
            }
        })
    }
}

impl<F> fmt::Debug for TcpCheck<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpCheck")
            .field("send", &self.send)
            .field("expect", &self.expect)
            .finish_non_exhaustive()
    }
}
