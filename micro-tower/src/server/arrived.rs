//! The body of a request that has just come, as what is served takes it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tonic::body::Body;

/// A body that becomes tonic's.
pub(super) trait Arrived {
    fn into_body(self) -> Body;
}

impl Arrived for Body {
    fn into_body(self) -> Body {
        self
    }
}

impl Arrived for Incoming {
    fn into_body(self) -> Body {
        Body::new(Noted { ended: self.is_end_stream(), inner: self })
    }
}

/// Hyper's body, and whether it had ended with its last frame: each layer asks, and HTTP/2 takes a lock to tell.
struct Noted {
    inner: Incoming,
    ended: bool,
}

impl HttpBody for Noted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        self.ended = match &frame {
            Some(Ok(frame)) => frame.is_trailers() || self.inner.is_end_stream(),
            _ => true,
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
