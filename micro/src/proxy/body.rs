//! The body of an answer on its way through.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use micro_tower::client::ResponseBody;
use micro_tower::status;
use pin_project::pin_project;
use tower::BoxError;

use super::meter::Active;

/// The body of a service's answer, as it comes. Of gRPC what breaks off ends in trailers that say why.
#[pin_project]
#[derive(Debug)]
pub struct Forwarded {
    #[pin]
    inner: ResponseBody,
    grpc: bool,
    broken: bool,
    active: Option<Active>,
}

impl Forwarded {
    pub(super) fn new(inner: ResponseBody, grpc: bool, active: Active) -> Self {
        Self { inner, grpc, broken: false, active: Some(active) }
    }
}

impl Body for Forwarded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if *this.broken {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(this.inner.poll_frame(cx)) {
            Some(Err(error)) if *this.grpc => {
                *this.broken = true;
                let trailers = trailers(error);
                if let Some(mut active) = this.active.take() {
                    active.ended(&trailers);
                }
                Some(Ok(Frame::trailers(trailers)))
            }
            Some(frame) => {
                if let Some(active) = this.active.as_mut() {
                    note(active, &frame, *this.grpc);
                }
                Some(frame)
            }
            None => {
                drop(this.active.take());
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.broken || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // A gRPC body may become trailers instead.
        if self.grpc { SizeHint::default() } else { self.inner.size_hint() }
    }
}

/// Notes how the answer ends, if it does here.
fn note(active: &mut Active, frame: &Result<Frame<Bytes>, BoxError>, grpc: bool) {
    match frame {
        Ok(frame) => {
            if let Some(trailers) = frame.trailers_ref().filter(|_| grpc) {
                active.ended(trailers);
            }
        }
        Err(_) => active.broke(),
    }
}

/// The trailers that say that a call ended in `error`.
fn trailers(error: BoxError) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // It fails for details that are no header value; then the code is lost too, so it is said alone.
    let status = status::grpc(error);
    if status.add_header(&mut trailers).is_err() {
        trailers.insert("grpc-status", (status.code() as i32).into());
    }
    trailers
}
