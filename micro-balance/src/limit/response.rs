//! The future of a request that may have to wait for its turn.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::{Sleep, sleep};
use tower::BoxError;
use tower_service::Service;

use super::gate::{Permit, Waiting};
use crate::{
    answer::Answer,
    overload::{Overloaded, Reason},
    sent::{NotSent, Unsent},
};

/// Response of [`Limit`](super::Limit).
#[pin_project]
pub struct ResponseFuture<S, F, Req, T> {
    #[pin]
    state: State<S, F, Req>,
    answer: T,
}

#[pin_project(project = Now)]
enum State<S, F, Req> {
    Calling(#[pin] F, Option<Permit>),
    /// Off the usual path, so it may have an allocation of its own.
    Queued(Box<Queued<S, Req>>),
    Rejected(Option<BoxError>),
}

/// A request waiting for its turn, then for the service.
struct Queued<S, Req> {
    request: Option<Req>,
    service: S,
    turn: Turn,
    wait: Duration,
    sleep: Pin<Box<Sleep>>,
}

enum Turn {
    Waiting(Waiting),
    Come(Option<Permit>),
}

impl<S, F, Req, T> ResponseFuture<S, F, Req, T> {
    pub(super) fn calling(future: F, permit: Permit, answer: T) -> Self {
        Self { state: State::Calling(future, Some(permit)), answer }
    }

    pub(super) fn rejected(request: Req, why: Overloaded, answer: T) -> Self
    where
        Req: Send + 'static,
    {
        Self { state: State::Rejected(Some(Unsent::new(request, why).into())), answer }
    }

    pub(super) fn queued(request: Req, service: S, waiting: Waiting, wait: Duration, answer: T) -> Self {
        let (turn, sleep) = (Turn::Waiting(waiting), Box::pin(sleep(wait)));
        let queued = Queued { request: Some(request), service, turn, wait, sleep };
        Self { state: State::Queued(Box::new(queued)), answer }
    }
}

impl<S, F, Req, T> Future for ResponseFuture<S, F, Req, T>
where
    S: Service<Req, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<S::Response, S::Error>>,
    Req: Send + 'static,
    T: Answer<S::Response>,
{
    type Output = Result<T::Held<Permit>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                Now::Calling(future, permit) => {
                    let result = ready!(future.poll(cx));
                    let mut permit = permit.take().expect("no future is polled after it was ready");
                    return Poll::Ready(match result {
                        Ok(answer) => {
                            permit.tell(this.answer.is_overload(&answer));
                            Ok(this.answer.hold(answer, permit))
                        }
                        Err(error) => {
                            let error = error.into();
                            // What was not sent says nothing of how the service copes.
                            if !NotSent::is(error.as_ref()) {
                                permit.tell(true);
                            }
                            Err(error)
                        }
                    });
                }
                Now::Queued(queued) => {
                    let (future, permit) = ready!(queued.poll(cx))?;
                    this.state.set(State::Calling(future, Some(permit)));
                }
                Now::Rejected(error) => {
                    return Poll::Ready(Err(error.take().expect("no future is polled after it was ready")));
                }
            }
        }
    }
}

impl<S, Req> Queued<S, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    Req: Send + 'static,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(S::Future, Permit), BoxError>> {
        if let Turn::Waiting(waiting) = &mut self.turn
            && let Poll::Ready(permit) = waiting.poll(cx)
        {
            self.turn = Turn::Come(Some(permit));
        }
        if let Turn::Come(permit) = &mut self.turn
            && let Poll::Ready(ready) = self.service.poll_ready(cx)
        {
            let request = self.request.take().expect("it leaves once");
            if let Err(error) = ready {
                // It never left: another endpoint may take it.
                return Poll::Ready(Err(Unsent::new(request, error).into()));
            }
            let permit = permit.take().expect("it leaves with the request");
            return Poll::Ready(Ok((self.service.call(request), permit)));
        }
        ready!(self.sleep.as_mut().poll(cx));
        let request = self.request.take().expect("no future is polled after it was ready");
        Poll::Ready(Err(Unsent::new(request, Overloaded(Reason::Waited(self.wait))).into()))
    }
}

impl<S, F, Req, T> fmt::Debug for ResponseFuture<S, F, Req, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
