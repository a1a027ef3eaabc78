//! What arrives at one end, what it says of that, and whether the other is there at all.

use std::{
    io,
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll},
};

use tokio::time::Instant;

use super::{BEAT, Pipe};
use crate::pipe::{
    packet::Packet,
    table::{Arrival, WINDOW},
};

/// For how many beats an end may say nothing before it is given up.
const SILENT_BEATS: u32 = 10;
/// How much may be left to say aside to an end that goes on talking and takes nothing.
const UNHEARD: usize = 1024;

impl Pipe {
    /// Tells the peer how much it may send, once that is worth a message.
    pub(super) fn tell(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.taken - self.told >= WINDOW / 4 && self.sending.is_none() && !self.is_broken() {
            self.told = self.taken;
            let next = self.sent;
            self.send(Packet::Taken { chunks: self.taken }.encode(), next, cx)?;
        }
        Ok(())
    }

    /// Says that this end is there, and notices when the other is not.
    pub(super) fn poll_beat(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
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
    pub(super) fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
