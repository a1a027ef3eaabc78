//! A stream of bytes over messages that arrive in order, or not at all.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Handle,
    time::{Instant, Sleep, sleep},
};
use tower::BoxError;

use super::{
    aside::{Asides, Hear},
    packet::{Packet, encode_data},
    progress::Progress,
    table::{Arrival, Entry, WINDOW},
};

/// The largest chunk, in bytes.
const CHUNK: usize = 32 << 10;
/// How often an end that has nothing to say says that it is there.
const BEAT: Duration = Duration::from_secs(1);
/// For how many beats an end may say nothing before it is given up.
const SILENT_BEATS: u32 = 10;

/// How much may be left to say aside to an end that goes on talking and takes nothing.
const UNHEARD: usize = 1024;

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

    fn broken(&self) -> io::Error {
        let why = self.entry.state.broken.get().copied();
        io::Error::new(io::ErrorKind::ConnectionReset, why.unwrap_or("the connection to the broker was lost"))
    }

    /// Hands `message` on, now or as soon as that is possible. Chunks from `next` on are lost with it.
    fn send(&mut self, message: Bytes, next: u64, cx: &mut Context<'_>) -> io::Result<()> {
        self.spoke = true;
        let mut sending = self.outlet.send(message, next);
        match sending.as_mut().poll(cx) {
            Poll::Ready(result) => result.map_err(io::Error::other),
            Poll::Pending => {
                self.sending = Some(sending);
                Ok(())
            }
        }
    }

    /// Waits until the last message is on its way.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(sending) = &mut self.sending {
            let result = ready!(sending.as_mut().poll(cx));
            self.sending = None;
            result.map_err(io::Error::other)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until one more chunk may go out, which is at once where it would go nowhere.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sent(cx))?;
        let state = &self.entry.state;
        let full = |sent| sent - state.taken.load(Relaxed).min(sent) >= WINDOW;
        if full(self.sent) && !self.is_broken() {
            state.writer.register(cx.waker());
            // It may have been told in between.
            if full(self.sent) && !self.is_broken() {
                return Poll::Pending;
            }
        }
        let heard = self.is_broken() && (self.read_ended || self.read_failed);
        Poll::Ready(if heard { Err(self.broken()) } else { Ok(()) })
    }

    fn is_broken(&self) -> bool {
        self.entry.state.broken.get().is_some()
    }

    fn poll_write_pieces(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        // What was said before goes before: after a good-bye nobody listens.
        self.say_asides(cx)?;
        ready!(self.poll_room(cx))?;
        if self.asides.waiting() > 0 {
            // More was said meanwhile, and woke this task.
            return Poll::Pending;
        }
        let number = self.entry.state.progress.write();
        self.sent = number + 1;
        if self.is_broken() {
            return Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()));
        }
        let (message, length) = encode_data(number, pieces, CHUNK);
        self.send(message, number, cx)?;
        Poll::Ready(Ok(length))
    }

    /// Sends what is to be said aside, as far as there is room.
    fn say_asides(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.asides.register(cx.waker());
        while self.asides.waiting() > 0 {
            let Poll::Ready(room) = self.poll_room(cx) else { break };
            room?;
            let Some(message) = self.asides.next() else { break };
            let number = self.entry.state.progress.write();
            self.sent = number + 1;
            if !self.is_broken() {
                self.send(Packet::Aside { number, message }.encode(), number, cx)?;
            }
        }
        Ok(())
    }

    /// Tells the peer how much it may send, once that is worth a message.
    fn tell(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.taken - self.told >= WINDOW / 4 && self.sending.is_none() && !self.is_broken() {
            self.told = self.taken;
            let next = self.sent;
            self.send(Packet::Taken { chunks: self.taken }.encode(), next, cx)?;
        }
        Ok(())
    }

    /// Says that this end is there, and notices when the other is not.
    fn poll_beat(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.beat.as_mut().poll(cx).is_ready() {
            let heard = self.entry.state.heard.swap(false, Relaxed);
            self.silent_beats = if heard { 0 } else { self.silent_beats + 1 };
            if self.silent_beats >= SILENT_BEATS {
                self.entry.state.broken.get_or_init(|| "the peer has not been heard of for ten seconds");
                return Err(self.broken());
            }
            if !std::mem::take(&mut self.spoke) && self.sending.is_none() {
                let sent = self.sent;
                self.send(Packet::Alive { sent }.encode(), sent, cx)?;
                self.spoke = false;
            }
            self.beat.as_mut().reset(Instant::now() + BEAT);
        }
        Ok(())
    }

    /// Takes the next chunk, or the end.
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.entry.arrivals.poll_recv(cx) {
            Poll::Ready(Some(Arrival::Chunk(number, chunk))) if number == self.received => {
                self.received += 1;
                // Nobody will read the end of one that is empty.
                self.taken += u64::from(chunk.is_empty());
                self.chunk = chunk;
            }
            Poll::Ready(Some(Arrival::Aside(number, message))) if number == self.received => {
                self.received += 1;
                self.taken += 1;
                if self.asides.waiting() > UNHEARD {
                    self.entry.state.broken.get_or_init(|| "the peer takes nothing of what it is told");
                    return Poll::Ready(Err(self.broken()));
                }
                if let Some(hear) = &mut self.hear {
                    hear.hear(message);
                }
                self.tell(cx)?;
            }
            Poll::Ready(Some(Arrival::End(sent))) if sent == self.received => self.read_ended = true,
            Poll::Ready(Some(_)) => {
                self.entry.state.broken.get_or_init(|| "the broker has lost a message of the peer");
                return Poll::Ready(Err(self.broken()));
            }
            Poll::Ready(None) => return Poll::Ready(Err(self.broken())),
            Poll::Pending => {
                self.poll_beat(cx)?;
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
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
