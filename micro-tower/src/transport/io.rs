//! The byte stream under a connection: TCP, a unix socket, TLS over TCP, memory, or a broker's messages.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::{calls::Calls, foreign::Greeting};
use crate::one_piece;
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
use crate::pipe::Pipe;
use crate::pipe::Progress;

/// A stream that counts how often something was read from it.
pub(super) struct Io {
    stream: Stream,
    reads: Arc<AtomicUsize>,
    progress: Arc<Progress>,
    /// Who is waiting for the first that is read.
    greeting: Option<Greeting>,
}

pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    Memory(DuplexStream),
    #[cfg(any(feature = "nats", feature = "rabbitmq"))]
    Broker(Box<Pipe>),
}

impl Io {
    pub(super) fn new(stream: Stream) -> Self {
        let progress = match &stream {
            #[cfg(any(feature = "nats", feature = "rabbitmq"))]
            Stream::Broker(pipe) => pipe.progress(),
            _ => Arc::default(),
        };
        Self { stream, reads: Arc::default(), progress, greeting: None }
    }

    /// How far what is written has come.
    pub(super) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// The calls that go beside the bytes, where there is such a way. No head of an answer may be longer than `max_head`.
    #[cfg_attr(
        not(any(feature = "nats", feature = "rabbitmq")),
        allow(unused_variables, reason = "pipes over brokers come by feature")
    )]
    pub(super) fn calls(&mut self, max_head: usize) -> Option<Calls> {
        match &mut self.stream {
            #[cfg(any(feature = "nats", feature = "rabbitmq"))]
            Stream::Broker(pipe) => {
                let (calls, listener) = Calls::new(pipe.asides(), self.reads.clone(), max_head);
                pipe.attend(listener);
                Some(calls)
            }
            _ => None,
        }
    }

    /// What will be read first.
    pub(super) fn greeting(&mut self) -> Greeting {
        self.greeting.get_or_insert_default().clone()
    }

    /// Grows whenever something is read, or the end is.
    pub(super) fn reads(&self) -> Arc<AtomicUsize> {
        self.reads.clone()
    }
}

/// Calls the same method of whichever stream this is.
macro_rules! each {
    ($io:expr, $stream:ident => $call:expr) => {
        match &mut $io.stream {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
            #[cfg(feature = "tls")]
            Stream::Tls($stream) => $call,
            Stream::Memory($stream) => $call,
            #[cfg(any(feature = "nats", feature = "rabbitmq"))]
            Stream::Broker($stream) => $call,
        }
    };
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = each!(self, stream => Pin::new(stream).poll_read(cx, buffer));
        if result.is_ready() {
            self.reads.fetch_add(1, Relaxed);
            if let Some(greeting) = self.greeting.take() {
                greeting.heard(&buffer.filled()[before..]);
            }
        }
        result
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => one_piece::poll_write(stream, cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Unix(stream) => stream.is_write_vectored(),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => stream.is_write_vectored(),
            Stream::Memory(stream) => stream.is_write_vectored(),
            #[cfg(any(feature = "nats", feature = "rabbitmq"))]
            Stream::Broker(pipe) => pipe.is_write_vectored(),
        }
    }
}
