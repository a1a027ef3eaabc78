//! How requests went, by their answers.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::record::Pass;
use crate::{
    classify::Outcome,
    protocol::{Http, Opaque},
};

/// How it is told from answers of type `Res` whether the service did what it was asked.
///
/// [`Opaque`] takes any answer for one. [`Http`] reads statuses, of gRPC also in the trailers, by the words of
/// [`classify`](crate::classify).
pub trait Judge<Res>: Clone + Send + Sync + 'static {
    /// What the caller gets: `Res`, or something around it that keeps the [`Pass`] until it is clear.
    type Response;

    /// Settles `pass`, at once or when the answer ends.
    fn judge(&self, answer: Res, pass: Pass) -> Self::Response;
}

impl<Res> Judge<Res> for Opaque {
    type Response = Res;

    fn judge(&self, answer: Res, pass: Pass) -> Res {
        pass.settle(true);
        answer
    }
}

impl<C: Body> Judge<Response<C>> for Http {
    type Response = Response<JudgedBody<C>>;

    fn judge(&self, answer: Response<C>, pass: Pass) -> Self::Response {
        let outcome = Outcome::of_response(&answer, || SystemTime::UNIX_EPOCH);
        let mut pass = Some(pass);
        // gRPC's without a status, and no trailers to come, is a failure.
        if (outcome.is_some() || answer.body().is_end_stream())
            && let Some(pass) = pass.take()
        {
            pass.settle(outcome == Some(Outcome::Success));
        }
        answer.map(|inner| JudgedBody { inner, pass })
    }
}

/// The body of an answer whose end tells how the request went.
#[pin_project]
#[derive(Debug)]
pub struct JudgedBody<C> {
    #[pin]
    inner: C,
    pass: Option<Pass>,
}

/// Has nothing to tell.
impl<C: Default> Default for JudgedBody<C> {
    fn default() -> Self {
        Self { inner: C::default(), pass: None }
    }
}

impl<C: Body> Body for JudgedBody<C> {
    type Data = C::Data;
    type Error = C::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<C::Data>, C::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        if let Some(mut pass) = this.pass.take() {
            match Outcome::of_frame(frame.as_ref(), this.inner.is_end_stream()) {
                Some(outcome) => pass.settle(outcome == Outcome::Success),
                None => {
                    pass.begins();
                    *this.pass = Some(pass);
                }
            }
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
