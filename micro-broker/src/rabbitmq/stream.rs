//! The stream from the server, with what the client would end over mended before it sees it.
//!
//! RabbitMQ passes on what it was given. At a name that is not UTF-8 the client ends its connection, and the server sends
//! the message again on the next, for ever; at a table in a table in a table, a thousand times, its stack overflows, and
//! the process is gone. Whoever may publish can send both.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use futures_util::io::{AsyncRead, AsyncWrite};

use crate::rabbitmq::mend::{is_mended, mend};

/// What a frame has beside its payload: its kind, its channel and its length before it, and its end after it.
const HEAD: usize = 7;
const FRAME: usize = HEAD + 1;
/// Longer than any frame that a server and this client agree on; what claims more is left to the client.
const LONGEST: usize = 1 << 20;

/// Mends frames as they come.
#[derive(Debug)]
pub(super) struct Mending<S> {
    stream: S,
    /// How much more of the last frame may be handed on as it comes.
    passing: usize,
    /// The beginning of a frame of which all is needed, or all of it with what came after.
    held: BytesMut,
    /// How much of that may be handed on.
    ready: usize,
}

impl<S> Mending<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, passing: 0, held: BytesMut::new(), ready: 0 }
    }
}

/// Mends the frames in `bytes`, `passing` bytes into it, and tells how many may be handed on: all but the beginning of one
/// that must be whole.
fn look(bytes: &mut [u8], passing: &mut usize) -> usize {
    let mut known = 0;
    loop {
        let passed = (*passing).min(bytes.len() - known);
        known += passed;
        *passing -= passed;
        let frame = &mut bytes[known..];
        let &mut [kind, _, _, a, b, c, d, ..] = frame else { return known };
        let length = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_add(FRAME);
        if is_mended(kind) && length <= LONGEST {
            let Some(payload) = frame.get_mut(HEAD..length - 1) else { return known };
            mend(kind, payload);
        }
        *passing = length;
    }
}

impl<S: AsyncRead + Unpin> Mending<S> {
    /// Reads into the place where it is wanted, after what is held. `None` where nothing of it may be handed on yet.
    fn read_there(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Option<usize>>> {
        let before = self.held.len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer[before..]))?;
        if read == 0 {
            self.ready = before;
            return Poll::Ready(Ok((before == 0).then_some(0)));
        }
        buffer[..before].copy_from_slice(&self.held);
        let known = look(&mut buffer[..before + read], &mut self.passing);
        self.held.clear();
        self.held.extend_from_slice(&buffer[known..before + read]);
        Poll::Ready(Ok((known > 0).then_some(known)))
    }

    /// The same where there is too little room.
    #[cold]
    fn read_here(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut portion = [0; 1024];
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut portion))?;
        self.held.extend_from_slice(&portion[..read]);
        self.ready = if read == 0 { self.held.len() } else { look(&mut self.held, &mut self.passing) };
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mending<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        while this.ready == 0 && !buffer.is_empty() {
            if this.held.len() >= buffer.len() {
                ready!(this.read_here(context))?;
            } else if let Some(read) = ready!(this.read_there(context, buffer))? {
                return Poll::Ready(Ok(read));
            }
        }
        let handed = this.ready.min(buffer.len());
        buffer[..handed].copy_from_slice(&this.held[..handed]);
        this.held.advance(handed);
        this.ready -= handed;
        Poll::Ready(Ok(handed))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mending<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::io::AsyncReadExt as _;

    use super::*;

    /// Gives a few bytes at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl AsyncRead for Drip<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let (given, rest) = self.0.split_at(self.1.min(self.0.len()).min(buffer.len()));
            buffer[..given.len()].copy_from_slice(given);
            self.0 = rest;
            Poll::Ready(Ok(given.len()))
        }
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 1][..], &length, payload, b"\xce"].concat()
    }

    #[test]
    fn a_stream_is_mended_however_it_comes_and_is_read() {
        // A message's id; then a body and what is no frame, both of which stay as they are.
        let properties = |id: &[u8]| frame(2, &[b"\0\x3c\0\0\0\0\0\0\0\0\0\x02\0\x80\x06", id].concat());
        let rest = [
            frame(3, b"\xfc\xff"),
            frame(8, b""),
            frame(2, b"\xff"),
            b"\x02\0\x01\xff\xff\xff\xff\xfc".to_vec(),
        ];
        let sent =
            [properties(b"J\xfcrgen"), frame(3, b"\xfc"), properties(b"J\xfcrgen"), rest.concat()].concat();
        let expected =
            [properties(b"J?rgen"), frame(3, b"\xfc"), properties(b"J?rgen"), rest.concat()].concat();
        for (come, room) in (1..=sent.len()).flat_map(|come| [1, 2, 7, 20, 4096].map(|room| (come, room))) {
            let (mut stream, mut read) = (Mending::new(Drip(&sent, come)), Vec::new());
            let mut buffer = vec![0; room];
            loop {
                let length = stream.read(&mut buffer).now_or_never().unwrap().unwrap();
                if length == 0 {
                    break;
                }
                read.extend_from_slice(&buffer[..length]);
            }
            assert_eq!(read, expected, "{come} come at a time, {room} are read");
        }
    }
}
