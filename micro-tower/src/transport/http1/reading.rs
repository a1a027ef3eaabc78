//! The body of a response that whoever wants it reads from the connection himself.

use std::{
    future::Future as _,
    io,
    pin::pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::io::AsyncReadExt as _;
use tower::BoxError;

use super::{
    chunked::{Chunked, Piece},
    head::Unreadable,
    incoming::Place,
    length::Length,
};
use crate::transport::io::Io;

/// A body of which more is to come.
pub(in crate::transport) struct Reading {
    io: Option<Box<Io>>,
    buffer: BytesMut,
    left: Left,
    /// How much is read at a time: more where the peer sends more.
    room: usize,
    keeps: bool,
    place: Place,
}

/// What is left of a body.
enum Left {
    Exact(u64),
    Chunked(Chunked),
    UntilClosed,
    Nothing,
}

const LEAST_ROOM: usize = 8 << 10;
const MOST_ROOM: usize = 256 << 10;

/// As much of a body that nobody wants is read to keep its connection.
const MOST_UNWANTED: usize = 64 << 10;

impl Reading {
    /// A body that is as long as `length`, and begins with what is in `buffer`.
    pub(super) fn new(io: Box<Io>, buffer: BytesMut, length: Length, keeps: bool, place: Place) -> Self {
        let left = match length {
            Length::Exact(length) => Left::Exact(length),
            Length::Chunked => Left::Chunked(Chunked::default()),
            Length::UntilClosed => Left::UntilClosed,
        };
        Self { io: Some(io), buffer, left, room: LEAST_ROOM, keeps, place }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            match self.next() {
                Ok(Next::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Next::Over) => return Poll::Ready(None),
                Ok(Next::Part) => {}
                Err(error) => return Poll::Ready(Some(Err(self.fail(error)))),
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) if matches!(self.left, Left::UntilClosed) => self.left = Left::Nothing,
                Ok(0) => {
                    let early =
                        io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended before the body");
                    return Poll::Ready(Some(Err(self.fail(early))));
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(self.fail(error)))),
            }
        }
    }

    /// Nothing more comes.
    fn fail(&mut self, error: impl Into<BoxError>) -> BoxError {
        self.left = Left::Nothing;
        self.io = None;
        error.into()
    }

    fn next(&mut self) -> Result<Next, Unreadable> {
        let data = |data| Ok(Next::Frame(Frame::data(data)));
        match &mut self.left {
            Left::Nothing | Left::Exact(0) => Ok(Next::Over),
            Left::Exact(_) | Left::UntilClosed if self.buffer.is_empty() => Ok(Next::Part),
            Left::Exact(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(self.buffer.len());
                *left -= taken as u64;
                data(self.buffer.split_to(taken).freeze())
            }
            Left::UntilClosed => data(self.buffer.split().freeze()),
            Left::Chunked(chunked) => match chunked.next(&mut self.buffer)? {
                Piece::Data(piece) => data(piece),
                Piece::Trailers(trailers) => Ok(Next::Frame(Frame::trailers(trailers))),
                Piece::Part => Ok(Next::Part),
                Piece::Over => Ok(Next::Over),
            },
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(0)) };
        if self.buffer.capacity() - self.buffer.len() < self.room / 2 {
            self.buffer.reserve(self.room);
        }
        let free = self.buffer.capacity() - self.buffer.len();
        let read = ready!(pin!(io.read_buf(&mut self.buffer)).poll(cx))?;
        if read == free {
            self.room = (self.room * 2).min(MOST_ROOM);
        }
        Poll::Ready(Ok(read))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        match &self.left {
            Left::Nothing | Left::Exact(0) => true,
            Left::Chunked(chunked) => chunked.is_over(),
            Left::Exact(_) | Left::UntilClosed => false,
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match &self.left {
            Left::Nothing => SizeHint::with_exact(0),
            Left::Exact(left) => SizeHint::with_exact(*left),
            Left::Chunked(_) | Left::UntilClosed => SizeHint::default(),
        }
    }

    /// Reads what has come of a body that nobody wants, where that may be all of it.
    fn drain(&mut self) {
        let long = matches!(self.left, Left::Exact(left) if left > MOST_UNWANTED as u64);
        let (mut cx, mut unwanted) = (Context::from_waker(Waker::noop()), 0);
        while self.keeps && !long && !self.is_end_stream() && unwanted < MOST_UNWANTED {
            let Poll::Ready(Some(Ok(frame))) = self.poll_frame(&mut cx) else { return };
            unwanted += frame.data_ref().map_or(0, Bytes::len);
        }
    }
}

enum Next {
    Frame(Frame<Bytes>),
    Part,
    Over,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.drain();
        if self.keeps
            && self.is_end_stream()
            && self.buffer.is_empty()
            && let Some(io) = self.io.take()
        {
            self.place.home.put(io);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;
    use crate::transport::{http1::probe::Kept, io::Stream};

    #[tokio::test]
    async fn a_body_that_nobody_wants_is_read_to_its_end_where_that_is_near() {
        let chunked =
            |length| (format!("{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length)), Length::Chunked);
        let exact = |length| ("x".repeat(length), Length::Exact(length as u64));
        for ((said, length), kept) in [
            (exact(10), 1),
            (exact(MOST_UNWANTED), 1),
            (exact(MOST_UNWANTED + 1), 0),
            (chunked(10), 1),
            (chunked(4 * MOST_UNWANTED), 0),
        ] {
            let (near, mut far) = duplex(1 << 20);
            far.write_all(said.as_bytes()).await.unwrap();
            let (home, place) = Kept::place();
            let io = Box::new(Io::new(Stream::Memory(near)));
            drop(Reading::new(io, BytesMut::new(), length, true, place));
            assert_eq!(home.count(), kept, "{length:?}, {} bytes", said.len());
        }
    }
}
