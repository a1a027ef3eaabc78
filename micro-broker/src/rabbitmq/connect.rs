//! Connects the client to RabbitMQ through a [`Mending`] stream.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::io::{AsyncRead, AsyncWrite};
use futures_util::stream::Stream;
use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};

use crate::rabbitmq::stream::Mending;

/// Connects; what is read goes through [`mend`](crate::rabbitmq::mend).
///
/// For `micro-tower`, whose calls over RabbitMQ go by it as well, and nobody else: it shows the client.
#[doc(hidden)]
pub async fn connect(uri: AMQPUri, properties: ConnectionProperties) -> lapin::Result<Connection> {
    let kit = RuntimeParts::new(Tokio::current(), Mended(Tokio::current()));
    let stream = async |uri: AMQPUri, _| {
        let stream = uri.connect_async(&Runtime::tokio_current()).await?;
        Ok(AsyncTcpStream::Plain(Mending::new(stream)))
    };
    Connection::connector(uri, Runtime::new(kit), stream, properties).await
}

type Plain = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// Tokio, but for what its streams are, which the client wants a reactor to say.
#[derive(Clone, Debug)]
struct Mended(Tokio);

impl Reactor for Mended {
    type TcpStream = Mending<Plain>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        // The client brings no sockets of its own.
        Err::<Mending<Plain>, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, time: Duration) -> Self::Sleep {
        self.0.sleep(time)
    }

    fn interval(&self, time: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(time)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async { Ok(Mending::new(AsyncTcpStream::Plain(connecting.await?))) }
    }
}
