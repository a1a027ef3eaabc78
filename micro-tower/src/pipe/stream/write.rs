//! What one end sends, as far as the other has room for it.

use std::{
    io::{self, IoSlice},
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::Pipe;
use crate::pipe::{
    packet::{Packet, encode_data},
    table::WINDOW,
};

/// The largest chunk, in bytes.
const CHUNK: usize = 32 << 10;

impl Pipe {
    /// Hands `message` on, now or as soon as that is possible. Chunks from `next` on are lost with it.
    pub(super) fn send(&mut self, message: Bytes, next: u64, cx: &mut Context<'_>) -> io::Result<()> {
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
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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

    pub(super) fn poll_write_pieces(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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
    pub(super) fn say_asides(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
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
}
