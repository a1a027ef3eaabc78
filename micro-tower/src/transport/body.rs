//! The body of a response.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::BoxStream};
use http_body::{Frame, SizeHint};
use tower::BoxError;

use super::{http1, http2};

/// The body of a response; its connection counts the request as in flight until this ends or is dropped.
pub struct Body {
    kind: Kind,
    /// Whether it had ended with its last frame. Each layer around it asks, and HTTP/2 takes a lock to tell.
    ended: bool,
}

/// Small, or in a box of its own: a response is moved through each layer.
#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Http2(Box<http2::Incoming>),
    Http1(http1::Incoming),
    /// Translated. Never locked: the mutex is what makes it `Sync`.
    Frames(Box<Mutex<Frames>>),
}

type Frames = BoxStream<'static, Result<Frame<Bytes>, BoxError>>;

impl Body {
    pub(super) fn http2(incoming: Option<http2::Incoming>) -> Self {
        let ended = match &incoming {
            // Its stream was looked at just now.
            Some(http2::Incoming::Stream(_)) => false,
            Some(whole) => whole.is_end_stream(),
            None => true,
        };
        Self { kind: incoming.map_or(Kind::Empty, |incoming| Kind::Http2(Box::new(incoming))), ended }
    }

    pub(super) fn http1(incoming: http1::Incoming) -> Self {
        let ended = incoming.is_end_stream();
        Self { kind: Kind::Http1(incoming), ended }
    }

    pub(super) fn frames(frames: Frames) -> Self {
        Self { kind: Kind::Frames(Box::new(Mutex::new(frames))), ended: false }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::http2(None)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match &mut self.kind {
            Kind::Empty => return Poll::Ready(None),
            Kind::Http2(incoming) => ready!(incoming.poll_frame(cx)),
            Kind::Http1(incoming) => ready!(incoming.poll_frame(cx)),
            Kind::Frames(frames) => {
                let frames = frames.get_mut().unwrap_or_else(PoisonError::into_inner);
                ready!(frames.poll_next_unpin(cx))
            }
        };
        self.ended = match (&frame, &self.kind) {
            (Some(Ok(frame)), Kind::Http2(incoming)) => frame.is_trailers() || incoming.is_end_stream(),
            (Some(Ok(_)), Kind::Http1(incoming)) => incoming.is_end_stream(),
            (Some(Ok(_)), _) => false,
            _ => true,
        };
        if self.ended {
            self.finish();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Http2(incoming) => incoming.size_hint(),
            Kind::Http1(incoming) => incoming.size_hint(),
            Kind::Frames(_) => SizeHint::default(),
        }
    }
}

impl Body {
    /// Frees the connection for the next request before the caller drops the body.
    fn finish(&mut self) {
        match std::mem::take(&mut self.kind) {
            Kind::Empty => {}
            Kind::Http2(incoming) => incoming.finish(),
            // Dropped with what they hold.
            Kind::Http1(_) | Kind::Frames(_) => {}
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Empty => "Body(ended)",
            Kind::Http2(_) => "Body(HTTP/2)",
            Kind::Http1(_) => "Body(HTTP/1)",
            Kind::Frames(_) => "Body(go-micro)",
        })
    }
}
