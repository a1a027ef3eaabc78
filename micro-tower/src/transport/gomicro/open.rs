//! A connection over which go-micro's messages go, one call at a time.

use std::{
    future::Future,
    io,
    pin::pin,
    task::{Context, Waker},
};

use bytes::BytesMut;
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tower::BoxError;

#[cfg(feature = "nats")]
use crate::gomicro::nats::Talk;
use crate::{
    fault::Fault,
    gomicro::{
        Message,
        http1::{self, Reader, Side, Start},
    },
    transport::{connect::Connector, io::Io, target::Target},
};

/// What this client calls itself.
const AGENT: &str = concat!("micro/", env!("CARGO_PKG_VERSION"));

/// A connection, for one call at a time.
pub(super) enum Open {
    #[cfg(feature = "nats")]
    Nats(Talk),
    Http {
        reader: Reader<ReadHalf<Io>>,
        write: WriteHalf<Io>,
    },
}

impl Open {
    fn http(io: Io) -> Self {
        let (read, write) = tokio::io::split(io);
        Self::Http { reader: Reader::new(read, BytesMut::new(), Side::Server), write }
    }

    pub(super) async fn send(&mut self, target: &Target, message: &Message) -> io::Result<()> {
        match self {
            #[cfg(feature = "nats")]
            Self::Nats(talk) => talk.send(message).await,
            Self::Http { write, .. } => {
                write.write_all(&http1::request(target.authority(), AGENT, message)).await
            }
        }
    }

    /// The next answer, or the HTTP status in its place. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> io::Result<Option<Result<Message, Fault>>> {
        match self {
            #[cfg(feature = "nats")]
            Self::Nats(talk) => Ok(talk.next().await?.map(Ok)),
            Self::Http { reader, .. } => Ok(reader.next().await?.map(|(head, message)| match head.start {
                Start::Response(status) if !status.is_success() => {
                    Err(Fault::from_http(status, String::from_utf8_lossy(&message.body).trim()))
                }
                _ => Ok(message),
            })),
        }
    }

    /// Whether nothing was heard since the last answer: not its end, and nothing that nobody asked for.
    pub(super) fn is_quiet(&mut self) -> bool {
        match self {
            #[cfg(feature = "nats")]
            Self::Nats(talk) => talk.is_quiet(),
            Self::Http { reader, .. } => {
                let mut heard = pin!(reader.head());
                heard.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
            }
        }
    }
}

pub(super) async fn open(settings: &Connector, target: &Target) -> Result<Open, BoxError> {
    #[cfg(feature = "nats")]
    if target.scheme() == "nats" {
        let talk = async { Talk::open(settings.nats(target).await?, target.authority()).await };
        return Ok(Open::Nats(tokio::time::timeout(settings.connect_timeout, talk).await??));
    }
    let (io, _) = tokio::time::timeout(settings.connect_timeout, settings.dial(target)).await??;
    Ok(Open::http(io))
}
