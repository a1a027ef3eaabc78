//! The body of an answer on its way through.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use micro_tower::client::ResponseBody;
use micro_tower::transport::Rate;
use pin_project::pin_project;
use tower::BoxError;

use super::failure::grpc_status;
use super::meter::Active;

/// The body of a service's answer, as it comes. Of gRPC what breaks off ends in trailers that say why.
#[pin_project]
#[derive(Debug)]
pub struct Forwarded {
    #[pin]
    inner: ResponseBody,
    /// What was looked at before the head was passed on.
    first: Option<Box<Frame<Bytes>>>,
    grpc: bool,
    broken: bool,
    /// What it breaks off with, once what is before that has been written.
    error: Option<BoxError>,
    active: Option<Active>,
    /// How the body of the request comes, where that may have to give way: then this breaks off too.
    rate: Option<Rate>,
}

impl Forwarded {
    /// # Errors
    ///
    /// What is wrong with the body from its beginning, as far as that came with the head: a chunk that cannot be read, for one.
    /// What breaks off later finds the head passed on.
    pub(super) fn new(mut inner: ResponseBody, grpc: bool) -> Result<Self, BoxError> {
        // One of a known length has no chunks, and of gRPC the end says what went wrong.
        let first = if grpc || inner.size_hint().exact().is_some() { None } else { look(&mut inner)? };
        Ok(Self { inner, first, grpc, broken: false, error: None, active: None, rate: None })
    }

    /// Tells `active` of its end, and the client why its request had to give way at `rate`, if it had.
    pub(super) fn of(mut self, active: Active, rate: Option<Rate>) -> Self {
        (self.active, self.rate) = (Some(active), rate);
        self
    }
}

/// What is there already of `body`.
fn look(body: &mut ResponseBody) -> Result<Option<Box<Frame<Bytes>>>, BoxError> {
    // Nobody is woken by this: who is handed the body polls it again.
    match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(first)) => Ok(Some(Box::new(first?))),
        Poll::Ready(None) | Poll::Pending => Ok(None),
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
            return Poll::Ready(this.error.take().map(Err));
        }
        let next = match this.first.take() {
            Some(first) => Some(Ok(*first)),
            None => ready!(this.inner.poll_frame(cx)),
        };
        Poll::Ready(match next {
            Some(Err(error)) if *this.grpc => {
                *this.broken = true;
                let gave_way = this.rate.as_ref().and_then(Rate::gave_way);
                let trailers = trailers(gave_way.unwrap_or(error));
                if let Some(mut active) = this.active.take() {
                    active.ended(&trailers);
                }
                Some(Ok(Frame::trailers(trailers)))
            }
            Some(Err(error)) => {
                *this.broken = true;
                *this.error = Some(error);
                if let Some(mut active) = this.active.take() {
                    active.broke();
                }
                // hyper forgets what it has not written when it hears of an error: the head as well as the data.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Ok(frame)) => {
                if let (Some(active), Some(trailers), true) =
                    (this.active.as_mut(), frame.trailers_ref(), *this.grpc)
                {
                    active.ended(trailers);
                }
                Some(Ok(frame))
            }
            None => {
                drop(this.active.take());
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        let over = self.broken || self.first.is_none() && self.inner.is_end_stream();
        over && self.error.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // A gRPC body may become trailers instead, and what is left behind the first piece is not all of it.
        if self.grpc || self.first.is_some() { SizeHint::default() } else { self.inner.size_hint() }
    }
}

/// The trailers that say that a call ended in `error`.
fn trailers(error: BoxError) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // It fails for details that are no header value; then the code is lost too, so it is said alone.
    let status = grpc_status(error);
    if status.add_header(&mut trailers).is_err() {
        trailers.insert("grpc-status", (status.code() as i32).into());
    }
    trailers
}
