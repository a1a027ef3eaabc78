//! The body of a response under a deadline.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderMap, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tokio::time::{Sleep, sleep_until};
use tonic::Status;
use tower::BoxError;

use super::{Deadline, expired::Expired};

/// A body that ends when its deadline does, and is polled under it.
#[pin_project]
#[derive(Debug)]
pub struct DeadlineBody<B> {
    #[pin]
    inner: Option<B>,
    deadline: Option<Deadline>,
    /// Made when there is something to wait for, which in a short answer there seldom is.
    sleep: Option<Pin<Box<Sleep>>>,
    late: Late,
}

/// How a body says that it is too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// By an error.
    Error,
    /// By the trailers of a gRPC response.
    Trailers,
}

impl<B> DeadlineBody<B> {
    pub(super) fn new(inner: B, deadline: Option<Deadline>, late: Late) -> Self {
        Self { inner: Some(inner), deadline, sleep: None, late }
    }
}

/// Has nothing in it, and no deadline.
impl<B> Default for DeadlineBody<B> {
    fn default() -> Self {
        Self { inner: None, deadline: None, sleep: None, late: Late::Error }
    }
}

impl<B> Body for DeadlineBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Deadline::enter(*this.deadline, || inner.poll_frame(cx)) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(deadline) = this.deadline else { return Poll::Pending };
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline.instant())));
        if sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        this.inner.set(None);
        Poll::Ready(Some(match this.late {
            Late::Error => Err(Expired::after_sending().into()),
            Late::Trailers => Ok(Frame::trailers(trailers())),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

fn trailers() -> HeaderMap {
    let status = Status::deadline_exceeded("the deadline has passed").into_http::<()>();
    let mut headers = status.into_parts().0.headers;
    headers.remove(CONTENT_TYPE);
    headers
}
