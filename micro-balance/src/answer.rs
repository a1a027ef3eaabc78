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
/// statuses that mean overload, those of gRPC in trailers as well, and a request lasts to the end of its answer's body.
pub trait Answer<Res>: Clone + Send + Sync + 'static {
    /// The answer with something kept to its end.
    type Held<G: Guard>;

    /// Whether the service says that it cannot cope.
    fn is_overload(&self, answer: &Res) -> bool;

    /// Whether the service says that it failed, for whatever reason. The same as overload unless given.
    ///
    /// Of [`Http`] these are 5xx and gRPC's DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, UNAVAILABLE and
    /// DATA_LOSS.
    fn is_failure(&self, answer: &Res) -> bool {
        self.is_overload(answer)
    }

    /// Whether the end of the answer tells more of this than what is there of it; it does not unless given.
    fn tells_later(&self, answer: &Res) -> bool {
        let _ = answer;
        false
    }

    /// Keeps `guard` until the answer ends, and lets it know what that tells.
    fn hold<G: Guard>(&self, answer: Res, guard: G) -> Self::Held<G>;
}

/// What is kept to the end of an answer.
pub trait Guard {
    /// The body of an answer that [tells later](Answer::tells_later) how it went has begun.
    fn begins(&mut self) {}

    /// The end of such an answer tells that the service failed, and if `overload`, that it cannot cope; or no end came.
    fn fails(&mut self, overload: bool) {
        let _ = overload;
    }
}

impl<G: Guard> Guard for Option<G> {
    fn begins(&mut self) {
        self.iter_mut().for_each(G::begins);
    }

    fn fails(&mut self, overload: bool) {
        self.iter_mut().for_each(|guard| guard.fails(overload));
    }
}

impl<Res> Answer<Res> for Opaque {
    type Held<G: Guard> = Res;

    fn is_overload(&self, _: &Res) -> bool {
        false
    }

    fn hold<G: Guard>(&self, answer: Res, _: G) -> Res {
        answer
    }
}

impl<C: Body> Answer<Response<C>> for Http {
    type Held<G: Guard> = Response<HeldBody<C, G>>;

    fn is_overload(&self, answer: &Response<C>) -> bool {
        match Outcome::of_response(answer, || SystemTime::UNIX_EPOCH) {
            Some(Outcome::Failure { .. }) => match grpc_status(answer.headers()) {
                Some(code) => means_overload(code),
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
            Some(code) => means_failure(code),
            None => answer.status().is_server_error(),
        }
    }

    fn tells_later(&self, answer: &Response<C>) -> bool {
        !answer.body().is_end_stream() && Outcome::of_response(answer, || SystemTime::UNIX_EPOCH).is_none()
    }

    fn hold<G: Guard>(&self, answer: Response<C>, guard: G) -> Response<HeldBody<C, G>> {
        let waits = self.tells_later(&answer);
        answer.map(|inner| HeldBody { guard: (!inner.is_end_stream()).then_some(guard), waits, inner })
    }
}

/// DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED and UNAVAILABLE.
fn means_overload(code: u16) -> bool {
    matches!(code, 4 | 8 | 14)
}

/// These, and ABORTED, INTERNAL and DATA_LOSS.
fn means_failure(code: u16) -> bool {
    means_overload(code) || matches!(code, 10 | 13 | 15)
}

/// A body that keeps something until it ends or is dropped.
#[pin_project]
#[derive(Debug)]
pub struct HeldBody<C, G> {
    #[pin]
    inner: C,
    guard: Option<G>,
    /// The head did not tell how the request went.
    waits: bool,
}

/// Keeps nothing.
impl<C: Default, G> Default for HeldBody<C, G> {
    fn default() -> Self {
        Self { inner: C::default(), guard: None, waits: false }
    }
}

impl<C: Body, G: Guard> Body for HeldBody<C, G> {
    type Data = C::Data;
    type Error = C::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<C::Data>, C::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        let goes_on = matches!(&frame, Some(Ok(frame)) if frame.is_data());
        if *this.waits
            && let Some(guard) = this.guard
        {
            match &frame {
                _ if goes_on => guard.begins(),
                Some(Ok(frame)) => match frame.trailers_ref().and_then(grpc_status) {
                    Some(code) if means_failure(code) => guard.fails(means_overload(code)),
                    _ => {}
                },
                Some(Err(_)) => guard.fails(true),
                None => {}
            }
        }
        if !goes_on {
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
