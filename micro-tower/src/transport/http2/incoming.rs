//! What comes back: the body of a response.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::{HeaderMap, header};
use http_body::{Frame, SizeHint};
use micro_balance::classify::is_grpc;
use tower::BoxError;

use super::slot::Slot;
use crate::{error::Phase, pipe::call::Whole, transport::upload::Upload};

/// How much of a body is handed on, at least, before the peer is told that there is room for as much again.
const OWED: usize = 4 << 10;

/// The body of a response. Dropping it before its end resets its stream.
pub(in crate::transport) enum Incoming {
    Stream(Streamed),
    /// It came as one message, and its request is over.
    Whole(Whole),
}

impl Incoming {
    /// One that comes as the stream it is, with `head` in front.
    pub(super) fn stream(stream: RecvStream, slot: Slot, upload: Upload, head: &HeaderMap) -> Self {
        let grpc = is_grpc(head);
        let length = if grpc { None } else { content_length(head) };
        Self::Stream(Streamed { stream, slot, upload, data: true, grpc, length, owed: 0 })
    }

    pub(in crate::transport) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self {
            Self::Stream(streamed) => streamed.poll_frame(cx),
            Self::Whole(whole) => {
                let data = whole.data.take().map(Frame::data);
                Poll::Ready(data.or_else(|| whole.trailers.take().map(Frame::trailers)).map(Ok))
            }
        }
    }

    pub(in crate::transport) fn is_end_stream(&self) -> bool {
        match self {
            Self::Stream(streamed) => !streamed.grpc && streamed.stream.is_end_stream(),
            Self::Whole(whole) => whole.data.is_none() && whole.trailers.is_none(),
        }
    }

    pub(in crate::transport) fn size_hint(&self) -> SizeHint {
        let length = match self {
            Self::Stream(streamed) => streamed.length,
            Self::Whole(whole) => Some(whole.data.as_ref().map_or(0, |data| data.len() as u64)),
        };
        length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// The response is complete, or failed: the request may still be wanted.
    pub(in crate::transport) fn finish(self) {
        if let Self::Stream(mut streamed) = self
            && streamed.upload.goes_on()
            && streamed.stream.is_end_stream()
        {
            streamed.upload.detach();
        }
    }
}

/// How long the body behind `head` is, as that says.
fn content_length(head: &HeaderMap) -> Option<u64> {
    head.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body that comes as the stream it is.
pub(in crate::transport) struct Streamed {
    stream: RecvStream,
    slot: Slot,
    upload: Upload,
    data: bool,
    /// Then it ends with trailers and not with its data, and no lock is taken to ask.
    grpc: bool,
    length: Option<u64>,
    /// How much was handed on and not told the peer of. An answer that is there at once ends before it is, and saves it.
    owed: usize,
}

impl Streamed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let failed = |error| Err(self.slot.failed(Phase::Read, error));
        if self.data {
            let polled = self.stream.poll_data(cx);
            if let Poll::Ready(Some(Ok(data))) = &polled {
                self.owed += data.len();
            }
            if self.owed >= OWED || (self.owed > 0 && polled.is_pending()) {
                // Whoever was handed the data has room for as much again. An error ends the stream, and is seen by the
                // next poll.
                let _ = self.stream.flow_control().release_capacity(std::mem::take(&mut self.owed));
            }
            match ready!(polled) {
                Some(Ok(data)) => {
                    self.length = self.length.map(|length| length.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                // The peer needs no more of the request: RFC 9113, section 8.1.
                Some(Err(error)) if error.is_reset() && error.reason() == Some(Reason::NO_ERROR) => {
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(failed(error))),
                None => self.data = false,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(trailers.map(Frame::trailers).map(Ok)),
            Err(error) => Poll::Ready(Some(failed(error))),
        }
    }
}
