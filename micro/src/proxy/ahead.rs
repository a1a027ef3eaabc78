//! Reads the beginning of a request's body before anybody is asked to take the request.
//!
//! A service of HTTP/1 has a connection for each request, and who dribbles a body would hold one for as long as he may. So
//! there is none for him before a good part of the body is here. A body that says no length may be a conversation, and is
//! passed on as it comes.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::Full;
use micro_balance::BrokenBody;
use tonic::body::Body;

/// How much of a body is read first.
const AHEAD: usize = 16 << 10;
/// How much may be held of all bodies at a time. What is more is passed on as it comes.
const MOST_HELD: usize = 32 << 20;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// A body of which the beginning is being read.
pub(super) struct Ahead {
    body: Body,
    held: Held,
}

/// What was read of a body, or all of it.
pub(super) enum Begun {
    Whole(Body),
    Part(Rest),
}

impl Ahead {
    pub(super) fn new(body: Body) -> Self {
        Self { body, held: Held::default() }
    }

    /// What has come of a body by now, without waiting for more.
    pub(super) fn so_far(mut body: Body) -> Result<Rest, BrokenBody> {
        // Nobody is woken by this: who is handed the rest polls it again.
        let mut cx = Context::from_waker(Waker::noop());
        let frame = match Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Ready(frame) => frame.transpose().map_err(BrokenBody::new)?,
            Poll::Pending => None,
        };
        let (last, trailers) = match frame.map(Frame::into_data) {
            Some(Ok(data)) => (Some(data), None),
            Some(Err(other)) => (None, other.into_trailers().ok()),
            None => (None, None),
        };
        Ok(Rest { held: Held::default(), last, trailers, body })
    }

    /// Whether `body` says how long it is, and is to be read first.
    pub(super) fn is_for(body: &Body) -> bool {
        body.size_hint().exact().is_some()
    }

    /// Reads on: what there is once that is enough.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Begun, BrokenBody>> {
        loop {
            let frame =
                ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose().map_err(BrokenBody::new)?;
            let data = match frame.map(Frame::into_data) {
                Some(Ok(data)) => data,
                Some(Err(other)) => {
                    return Poll::Ready(Ok(Begun::Part(self.rest(None, other.into_trailers().ok()))));
                }
                None => return Poll::Ready(Ok(self.whole(None))),
            };
            if self.body.is_end_stream() {
                return Poll::Ready(Ok(self.whole(Some(data))));
            }
            if self.held.bytes.len() + data.len() >= AHEAD || !self.held.keep(&data) {
                return Poll::Ready(Ok(Begun::Part(self.rest(Some(data), None))));
            }
        }
    }

    /// All of it: `last`, and what is held. What came in one piece is passed on as that.
    fn whole(&mut self, last: Option<Bytes>) -> Begun {
        match last {
            Some(last) if self.held.bytes.is_empty() => Begun::Whole(Body::new(Full::new(last))),
            last => {
                let mut bytes = std::mem::take(&mut self.held.bytes);
                bytes.extend_from_slice(&last.unwrap_or_default());
                Begun::Whole(Body::new(Full::new(bytes.freeze())))
            }
        }
    }

    fn rest(&mut self, last: Option<Bytes>, trailers: Option<HeaderMap>) -> Rest {
        let (held, body) = (std::mem::take(&mut self.held), std::mem::take(&mut self.body));
        Rest { held, last, trailers, body }
    }
}

/// A body with what was read of it in front.
pub(super) struct Rest {
    held: Held,
    last: Option<Bytes>,
    trailers: Option<HeaderMap>,
    body: Body,
}

impl Rest {
    /// Whether there is no more to come.
    pub(super) fn is_all(&self) -> bool {
        self.body.is_end_stream()
    }
}

impl http_body::Body for Rest {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        if !self.held.bytes.is_empty() {
            let held = std::mem::take(&mut self.held);
            return Poll::Ready(Some(Ok(Frame::data(held.into_bytes()))));
        }
        if let Some(last) = self.last.take() {
            return Poll::Ready(Some(Ok(Frame::data(last))));
        }
        match self.trailers.take() {
            Some(trailers) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            None => Pin::new(&mut self.body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        let read = self.held.bytes.is_empty() && self.last.is_none() && self.trailers.is_none();
        read && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.held.bytes.len() + self.last.as_ref().map_or(0, Bytes::len);
        let (rest, mut hint) = (self.body.size_hint(), SizeHint::new());
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read as u64));
        }
        hint.set_lower(rest.lower().saturating_add(read as u64));
        hint
    }
}

/// Pieces of a body, counted as long as they are held.
#[derive(Default)]
struct Held {
    bytes: BytesMut,
    counted: usize,
}

impl Held {
    /// Adds `data`, if there is room for it.
    fn keep(&mut self, data: &[u8]) -> bool {
        if HELD.fetch_add(data.len(), Relaxed) + data.len() > MOST_HELD {
            HELD.fetch_sub(data.len(), Relaxed);
            return false;
        }
        self.counted += data.len();
        self.bytes.extend_from_slice(data);
        true
    }

    fn into_bytes(mut self) -> Bytes {
        std::mem::take(&mut self.bytes).freeze()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Most bodies come in one piece, and all processors would have to agree that nothing is held of them.
        if self.counted > 0 {
            HELD.fetch_sub(self.counted, Relaxed);
        }
    }
}
