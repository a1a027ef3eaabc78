//! A stream of bytes over messages that arrive in order, or not at all.

mod read;
mod write;

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Handle,
    time::{Sleep, sleep},
};
use tower::BoxError;

use super::{
    aside::{Asides, Hear},
    packet::Packet,
    progress::Progress,
    table::Entry,
};

/// How often an end that has nothing to say says that it is there.
const BEAT: Duration = Duration::from_secs(1);

/// Sends messages to the other end of a pipe.
pub(super) trait Outlet: Send + Sync + 'static {
    /// Sends `message`; chunks from number `next` on are lost if nobody gets it.
    fn send(&self, message: Bytes, next: u64) -> Sending;
}

pub(super) type Sending = BoxFuture<'static, Result<(), BoxError>>;

/// One end of a pipe, as the stream of bytes it is.
///
/// At most [`WINDOW`] chunks are under way in each direction, so neither end holds more than 4 MiB. An end that is
/// told that nobody listens at the other, or has not heard of it for ten seconds, is broken. What has arrived by then is
/// read first: the peer may have answered before it died. Until the reader has come to the error, writes go nowhere,
/// so that none of them ends the connection early. Reads and writes belong into one task.
pub(crate) struct Pipe {
    entry: Entry,
    outlet: Box<dyn Outlet>,
    sending: Option<Sending>,
    sent: u64,
    received: u64,
    /// How many chunks were used up, and how many the peer was told of.
    taken: u64,
    told: u64,
    chunk: Bytes,
    read_ended: bool,
    /// The reader has been told that the pipe is broken.
    read_failed: bool,
    write_ended: bool,
    beat: Pin<Box<Sleep>>,
    silent_beats: u32,
    spoke: bool,
    asides: Asides,
    hear: Option<Box<dyn Hear>>,
}

impl Pipe {
    pub(super) fn new(entry: Entry, outlet: Box<dyn Outlet>) -> Self {
        Self {
            entry,
            outlet,
            sending: None,
            sent: 0,
            received: 0,
            taken: 0,
            told: 0,
            chunk: Bytes::new(),
            read_ended: false,
            read_failed: false,
            write_ended: false,
            beat: Box::pin(sleep(BEAT)),
            silent_beats: 0,
            spoke: true,
            asides: Asides::default(),
            hear: None,
        }
    }

    /// Says things aside, which the other end hears in order with the bytes.
    pub(crate) fn asides(&self) -> Asides {
        self.asides.clone()
    }

    /// Has `hear` take what the other end says aside, which goes nowhere otherwise. It is dropped with the pipe.
    pub(crate) fn attend(&mut self, hear: impl Hear + 'static) {
        self.hear = Some(Box::new(hear));
    }

    /// How far it has come.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        self.entry.state.progress.clone()
    }

    fn is_broken(&self) -> bool {
        self.entry.state.broken.get().is_some()
    }

    fn broken(&self) -> io::Error {
        let why = self.entry.state.broken.get().copied();
        io::Error::new(io::ErrorKind::ConnectionReset, why.unwrap_or("the connection to the broker was lost"))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // What waits to be sent, or to be told, may be all that keeps the peer.
        if self.poll_sent(cx)?.is_ready() {
            self.tell(cx)?;
        }
        self.say_asides(cx)?;
        while self.chunk.is_empty() && !self.read_ended {
            let arrived = ready!(self.poll_arrival(cx));
            self.read_failed = arrived.is_err();
            arrived?;
        }
        let length = self.chunk.len().min(buffer.remaining());
        buffer.put_slice(&self.chunk[..length]);
        self.chunk.advance(length);
        if length > 0 && self.chunk.is_empty() {
            self.taken += 1;
            self.tell(cx)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_pieces(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_pieces(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_ended {
            self.say_asides(cx)?;
            if self.asides.waiting() > 0 {
                // It goes on when the last is sent, or there is room; unless the peer is gone.
                self.poll_beat(cx)?;
                return Poll::Pending;
            }
        }
        ready!(self.poll_sent(cx))?;
        if !std::mem::replace(&mut self.write_ended, true) && !self.is_broken() {
            let sent = self.sent;
            self.send(Packet::End { sent }.encode(), sent, cx)?;
        }
        self.poll_sent(cx)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.asides.end(self.entry.state.broken.get().copied());
        if self.write_ended && self.read_ended || self.is_broken() {
            return;
        }
        // The peer would notice by itself, in ten seconds.
        let Ok(runtime) = Handle::try_current() else { return };
        let (before, reset) = (self.sending.take(), self.outlet.send(Packet::Reset.encode(), self.sent));
        runtime.spawn(tokio::time::timeout(BEAT, async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            let _ = reset.await;
        }));
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("id", &self.entry.id).field("sent", &self.sent).finish_non_exhaustive()
    }
}
