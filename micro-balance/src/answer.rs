//! What layers around any service read from its answers.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use crate::{
    classify::{Outcome, grpc_status},
    protocol::{Http, Opaque},
};

/// How answers of type `Res` are read, and when they end.
///
/// [`Opaque`] takes any answer as it is: it means that the service coped, and ends the request. [`Http`] knows
/// statuses that mean overload, and a request lasts to the end of its answer's body.
pub trait Answer<Res>: Clone + Send + Sync + 'static {
    /// The answer with something kept to its end.
    type Held<G>;

    /// Whether the service says that it cannot cope.
    fn is_overload(&self, answer: &Res) -> bool;

    /// Whether the service says that it failed, for whatever reason. The same as overload unless given.
    ///
    /// Of [`Http`] these are 5xx and, in the head of an answer, gRPC's DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED,
    /// INTERNAL, UNAVAILABLE and DATA_LOSS.
    fn is_failure(&self, answer: &Res) -> bool {
        self.is_overload(answer)
    }

    /// Keeps `guard` until the answer ends.
    fn hold<G>(&self, answer: Res, guard: G) -> Self::Held<G>;
}

impl<Res> Answer<Res> for Opaque {
    type Held<G> = Res;

    fn is_overload(&self, _: &Res) -> bool {
        false
    }

    fn hold<G>(&self, answer: Res, _: G) -> Res {
        answer
    }
}

impl<C: Body> Answer<Response<C>> for Http {
    type Held<G> = Response<HeldBody<C, G>>;

    fn is_overload(&self, answer: &Response<C>) -> bool {
        match Outcome::of_response(answer, || SystemTime::UNIX_EPOCH) {
            Some(Outcome::Failure { .. }) => match grpc_status(answer.headers()) {
                // DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED and UNAVAILABLE.
                Some(code) => matches!(code, 4 | 8 | 14),
                None => matches!(
                    answer.status(),
                    StatusCode::TOO_MANY_REQUESTS
                        | StatusCode::SERVICE_UNAVAILABLE
                        | StatusCode::GATEWAY_TIMEOUT
                ),
            },
            _ => false,
        }
    }

    fn is_failure(&self, answer: &Response<C>) -> bool {
        match grpc_status(answer.headers()) {
            Some(code) => matches!(code, 4 | 8 | 10 | 13 | 14 | 15),
            None => answer.status().is_server_error(),
        }
    }

    fn hold<G>(&self, answer: Response<C>, guard: G) -> Response<HeldBody<C, G>> {
        answer.map(|inner| HeldBody { guard: (!inner.is_end_stream()).then_some(guard), inner })
    }
}

/// A body that keeps something until it ends or is dropped.
#[pin_project]
#[derive(Debug)]
pub struct HeldBody<C, G> {
    #[pin]
    inner: C,
    guard: Option<G>,
}

/// Keeps nothing.
impl<C: Default, G> Default for HeldBody<C, G> {
    fn default() -> Self {
        Self { inner: C::default(), guard: None }
    }
}

impl<C: Body, G> Body for HeldBody<C, G> {
    type Data = C::Data;
    type Error = C::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<C::Data>, C::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            *this.guard = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
