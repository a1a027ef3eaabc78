//! Whoever wants to know of requests, from their beginning to the end of their answers.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project::pin_project;
use tonic::body::Body;

use crate::proxy::Peer;

/// Is told of every request.
pub trait Observer: Send + Sync {
    /// `request` of `peer` has come. Headers that are set here go on to its service.
    fn begin(&self, request: &mut Request<Body>, peer: &Peer) -> Box<dyn Observed>;
}

/// A request that is observed. It is dropped with the end of its answer, or when nobody waits for one any more.
pub trait Observed: Send {
    /// Its answer has begun.
    fn answered(&mut self, status: StatusCode, headers: &HeaderMap);

    /// Its answer has ended in `trailers`.
    fn trailers(&mut self, trailers: &HeaderMap);
}

/// `response`, whose end `observed` hears of.
pub(crate) fn watched(response: &mut Response<Body>, mut observed: Box<dyn Observed>) {
    observed.answered(response.status(), response.headers());
    let inner = std::mem::replace(response.body_mut(), Body::empty());
    *response.body_mut() = Body::new(Watched { inner, observed });
}

#[pin_project]
struct Watched {
    #[pin]
    inner: Body,
    observed: Box<dyn Observed>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let this = self.project();
        let frame = this.inner.poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            this.observed.trailers(trailers);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
