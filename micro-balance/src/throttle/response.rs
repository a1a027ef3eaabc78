//! What becomes of a request, and how it is counted.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower::BoxError;

use super::{ACCEPTED, REQUESTS};
use crate::{
    answer::{Answer, Guard},
    sent::NotSent,
    sliding::Sliding,
};

/// Counts a request that was sent once it has ended, by whomever.
#[derive(Debug)]
pub struct Counted {
    counts: Arc<Sliding<2>>,
    sent: bool,
    accepted: bool,
    /// Whether any failure is as good as a request turned away.
    success: bool,
}

impl Guard for Counted {
    /// Who cannot cope says so before.
    fn begins(&mut self) {
        if !self.success {
            self.count();
        }
    }

    fn fails(&mut self, overload: bool) {
        self.accepted &= !(overload || self.success);
    }
}

impl Counted {
    pub(super) fn new(counts: Arc<Sliding<2>>, success: bool) -> Self {
        Self { counts, sent: true, accepted: false, success }
    }

    fn count(&mut self) {
        if std::mem::take(&mut self.sent) {
            self.counts.put(REQUESTS, 1);
            self.counts.put(ACCEPTED, self.accepted.into());
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count();
    }
}

/// Response of [`Throttle`](super::Throttle).
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F, T> {
    #[pin]
    state: State<F>,
    answer: T,
}

#[pin_project(project = Now)]
#[derive(Debug)]
enum State<F> {
    Calling(#[pin] F, Option<Counted>),
    Rejected(Option<BoxError>),
}

impl<F, T> ResponseFuture<F, T> {
    pub(super) fn calling(future: F, counted: Counted, answer: T) -> Self {
        Self { state: State::Calling(future, Some(counted)), answer }
    }

    pub(super) fn rejected(error: BoxError, answer: T) -> Self {
        Self { state: State::Rejected(Some(error)), answer }
    }
}

impl<F, T, Res, E> Future for ResponseFuture<F, T>
where
    F: Future<Output = Result<Res, E>>,
    E: Into<BoxError>,
    T: Answer<Res>,
{
    type Output = Result<T::Held<Option<Counted>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const ONCE: &str = "no future is polled after it was ready";
        let this = self.project();
        let (result, counted) = match this.state.project() {
            Now::Calling(future, counted) => (ready!(future.poll(cx)).map_err(Into::into), counted),
            Now::Rejected(error) => return Poll::Ready(Err(error.take().expect(ONCE))),
        };
        let mut counted = counted.take().expect(ONCE);
        Poll::Ready(match result {
            Ok(answer) => {
                let reads = this.answer;
                let fails =
                    if counted.success { reads.is_failure(&answer) } else { reads.is_overload(&answer) };
                counted.accepted = !fails;
                // Dropped here, and counted, unless there is more to learn.
                let counted = Some(counted).filter(|_| reads.tells_later(&answer));
                Ok(reads.hold(answer, counted))
            }
            Err(error) => {
                // Never sent, so never turned away by the service: it does not count as a request either.
                counted.sent &= !NotSent::is(error.as_ref());
                Err(error)
            }
        })
    }
}
