//! Sends a request that is all there.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::io::AsyncWrite as _;

use super::request::Written;
use crate::transport::io::Io;

/// A request, and how much of it is on its way.
pub(super) struct Sending {
    pub(super) io: Box<Io>,
    written: Written,
    sent: usize,
    flushed: bool,
}

impl Sending {
    /// Sends what can be at once. An error says that nothing was.
    pub(super) fn begin(io: Box<Io>, written: Written) -> io::Result<Self> {
        let mut sending = Self { io, written, sent: 0, flushed: false };
        match sending.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) if sending.sent == 0 => Err(error),
            // Who waits for the answer sees the same, and is woken for it.
            _ => Ok(sending),
        }
    }

    /// Sends the rest.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.written.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        if !self.flushed {
            ready!(Pin::new(&mut *self.io).poll_flush(cx))?;
            self.flushed = true;
            // Its room is for the next one already while this waits for its answer.
            self.written.bytes = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Whether another request may follow: this one has been sent to its end, and lets it.
    pub(super) fn keeps(&self) -> bool {
        self.flushed && self.written.keeps
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;
    use crate::transport::io::Stream;

    #[tokio::test]
    async fn a_request_of_which_nothing_can_be_sent_is_not_begun() {
        for open in [true, false] {
            let (near, far) = duplex(1 << 10);
            let _far = open.then_some(far);
            let io = Box::new(Io::new(Stream::Memory(near)));
            let written = Written { bytes: b"GET / HTTP/1.1\r\n\r\n".to_vec(), keeps: true };
            assert_eq!(Sending::begin(io, written).is_ok(), open);
        }
    }
}
