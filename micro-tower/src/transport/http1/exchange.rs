//! A request that is all there and its answer, on a connection that whoever waits for the answer reads himself.
//!
//! There is no task and no channel between the two: a connection that has one is woken, and wakes the request in turn.

use std::{
    future::Future,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response};
use tokio::io::{AsyncRead as _, ReadBuf};
use tower::BoxError;

use super::{
    head::{self, Head, Read, Unreadable, unanswered},
    incoming::{Incoming, Place},
    length::Length,
    reading::Reading,
    sending::Sending,
};
use crate::gomicro::http1::may_end;

/// How many heads may say that another comes.
const MOST_INFORMATIONAL: u8 = 32;

/// As much is read at a time while the head is waited for: most answers are shorter as a whole.
const ROOM: usize = 8 << 10;

/// A request that was written on a connection, or is being written.
pub(super) struct Exchange {
    sending: Sending,
    /// Why the rest could not be sent: the answer may have come nevertheless.
    failed: Option<io::Error>,
    read: BytesMut,
    /// The longest that the head of an answer may be.
    most: usize,
    informational: u8,
    head_only: bool,
    /// The room of the request's own headers.
    spare: HeaderMap,
    place: Place,
}

impl Exchange {
    /// The rest of `sending`, which is `request`. No head of an answer may be longer than `most`.
    pub(super) fn new<B>(sending: Sending, request: Request<B>, most: usize, place: Place) -> Self {
        let head_only = *request.method() == Method::HEAD;
        let mut spare = request.into_parts().0.headers;
        spare.clear();
        let (failed, read) = (None, BytesMut::new());
        Self { sending, failed, read, most, informational: 0, head_only, spare, place }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Head, Bytes), BoxError>> {
        if self.failed.is_none()
            && let Poll::Ready(Err(error)) = self.sending.poll(cx)
        {
            self.failed = Some(error);
        }
        loop {
            let mut room = [const { MaybeUninit::uninit() }; ROOM];
            let mut heard = ReadBuf::uninit(&mut room);
            let read = ready!(Pin::new(&mut *self.sending.io).poll_read(cx, &mut heard));
            if read.is_err() || heard.filled().is_empty() {
                let early = || {
                    io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed before its answer came")
                };
                let error = self.failed.take().or(read.err()).unwrap_or_else(early);
                return Poll::Ready(Err(error.into()));
            }
            if let Some(answer) = self.hear(heard.filled())? {
                return Poll::Ready(Ok(answer));
            }
        }
    }

    /// The answer's head and what came with it, where it is all there with what was `heard` just now.
    fn hear(&mut self, heard: &[u8]) -> Result<Option<(Head, Bytes)>, Unreadable> {
        let mut bytes = if self.read.is_empty() {
            Bytes::copy_from_slice(heard)
        } else {
            let seen = self.read.len();
            self.read.extend_from_slice(heard);
            if !may_end(&self.read, seen) && self.read.len() <= self.most {
                return Ok(None);
            }
            self.read.split().freeze()
        };
        while !bytes.is_empty() {
            match head::read(&bytes, self.head_only, &mut self.spare)? {
                Read::Head(head, size) if size <= self.most => {
                    return Ok(Some((head, bytes.split_off(size))));
                }
                Read::Informational(size) if self.informational < MOST_INFORMATIONAL => {
                    self.informational += 1;
                    bytes.advance(size);
                }
                Read::Part if bytes.len() <= self.most => {
                    self.read = bytes.into();
                    break;
                }
                _ => return Err(Unreadable::TooLong(format!("more than {} bytes", self.most).into())),
            }
        }
        Ok(None)
    }

    /// The body that begins with `rest`, and what becomes of the connection.
    fn finish(self, head: Head, mut rest: Bytes) -> Response<Incoming> {
        let Self { sending, place, .. } = self;
        let keeps = sending.keeps() && head.keeps;
        let body = match head.length {
            Length::Exact(length) if length <= rest.len() as u64 => {
                let surplus = rest.split_off(usize::try_from(length).unwrap_or(usize::MAX));
                if keeps && surplus.is_empty() {
                    place.home.put(sending.io);
                }
                Incoming::Whole(rest)
            }
            length => {
                Incoming::Reading(Box::new(Reading::new(sending.io, rest.into(), length, keeps, place)))
            }
        };
        head.response.map(|()| body)
    }
}

/// The answer to a request. Dropping this closes the connection.
pub(super) struct Answer(Option<Exchange>);

impl Answer {
    pub(super) fn to(exchange: Exchange) -> Self {
        Self(Some(exchange))
    }
}

impl Future for Answer {
    type Output = Result<Response<Incoming>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(exchange) = &mut self.0 else { return Poll::Pending };
        let answer = ready!(exchange.poll_answer(cx));
        let Some(exchange) = self.0.take() else { return Poll::Pending };
        Poll::Ready(match answer {
            Ok((head, rest)) => Ok(exchange.finish(head, rest)),
            Err(error) => Err(exchange.place.home.name().blame(unanswered(error)).into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::transport::{
        http1::{
            probe::Kept,
            request::{fits, write},
        },
        io::{Io, Stream},
    };

    const MOST: usize = 8 << 10;

    /// A request that is being sent to a peer who has room for so many bytes of it.
    fn begun(room: usize, most: usize) -> (Answer, Arc<Kept>, DuplexStream) {
        let (near, far) = duplex(room);
        let request = Request::get("/a-path-that-is-longer-than-that").body(Empty::<Bytes>::new()).unwrap();
        let io = Box::new(Io::new(Stream::Memory(near)));
        let sending = Sending::begin(io, write(&request, fits(&request).unwrap(), b"")).unwrap();
        let (kept, place) = Kept::place();
        (Answer::to(Exchange::new(sending, request, most, place)), kept, far)
    }

    /// How many connections are kept where the peer answers at once, or when it has read the request.
    async fn kept(room: usize, reads: bool) -> usize {
        let (answer, kept, mut far) = begun(room, MOST);
        let peer = async {
            let mut heard = Vec::new();
            while reads && !heard.ends_with(b"\r\n\r\n") {
                far.read_buf(&mut heard).await.unwrap();
            }
            far.write_all(b"HTTP/1.1 204 X\r\n\r\n").await.unwrap();
        };
        let (answer, ()) = tokio::join!(answer, peer);
        assert_eq!(answer.unwrap().status(), 204);
        kept.count()
    }

    #[tokio::test]
    async fn a_connection_is_used_again_only_where_all_of_the_request_was_sent() {
        assert_eq!(kept(1 << 10, false).await, 1);
        assert_eq!(kept(20, true).await, 1);
        assert_eq!(kept(20, false).await, 0);
    }

    #[tokio::test]
    async fn a_head_is_refused_as_soon_as_it_is_too_long() {
        let fits = format!("HTTP/1.1 204 X\r\nx: {}\r\n\r\n", "x".repeat(MOST - 23));
        let whole = fits.replace("x: ", "x: x");
        let part = "HTTP/1.1 204 X\r\n".to_owned() + &"x".repeat(MOST);
        for (said, refused) in [(fits, false), (whole, true), (part, true)] {
            let (answer, _, mut far) = begun(1 << 16, MOST);
            // Nothing more comes.
            far.write_all(said.as_bytes()).await.unwrap();
            assert_eq!(answer.await.is_err(), refused, "{} bytes", said.len());
        }
    }
}
