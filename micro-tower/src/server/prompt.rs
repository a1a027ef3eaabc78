//! A tower service as hyper takes one, which is called as soon as there is a request.
//!
//! hyper-util's adapter keeps a clone of the service, and the request, until its future is first polled: both are moved
//! wherever that is, a task of HTTP/2 among others.

use std::{
    any::Any,
    cell::RefCell,
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use pin_project::pin_project;
use tower_service::Service;

/// The service of one connection, which hyper calls from one task. A clone takes its place when it has failed, or is waited
/// for: to keep one for that would cost each connection as much room again.
#[derive(Debug)]
pub(super) struct Prompt<S>(RefCell<S>);

impl<S> Prompt<S> {
    pub(super) fn new(service: S) -> Self {
        Self(RefCell::new(service))
    }
}

impl<S, R> hyper::service::Service<R> for Prompt<S>
where
    S: Service<R> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = PromptFuture<S, R>;

    fn call(&self, request: R) -> Self::Future {
        let mut service = self.0.borrow_mut();
        let replace = |service: &mut S| {
            let fresh = service.clone();
            mem::replace(service, fresh)
        };
        // Nobody is woken by this: one that is not ready is asked again, by who waits for it. No other may be waited for
        // instead, as it stands in line behind this one.
        PromptFuture(match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => match catch_unwind(AssertUnwindSafe(|| service.call(request))) {
                Ok(called) => State::Called(called),
                // It is that of the request, and its connection's other requests go on.
                Err(panic) => {
                    replace(&mut service);
                    State::Panicked(Some(panic))
                }
            },
            Poll::Ready(Err(error)) => {
                replace(&mut service);
                State::Failed(Some(error))
            }
            Poll::Pending => State::Waits(Box::new((replace(&mut service), Some(request)))),
        })
    }
}

/// Response of [`Prompt`].
#[pin_project]
pub(super) struct PromptFuture<S: Service<R>, R>(#[pin] State<S, R>);

#[pin_project(project = Now)]
enum State<S: Service<R>, R> {
    Called(#[pin] S::Future),
    /// For the service to be ready.
    Waits(Box<(S, Option<R>)>),
    Failed(Option<S::Error>),
    Panicked(Option<Box<dyn Any + Send>>),
}

impl<S: Service<R>, R> Future for PromptFuture<S, R> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().0;
        loop {
            let called = match state.as_mut().project() {
                Now::Called(future) => return future.poll(cx),
                Now::Waits(waits) => {
                    let (service, request) = &mut **waits;
                    ready!(service.poll_ready(cx))?;
                    let Some(request) = request.take() else { return Poll::Pending };
                    service.call(request)
                }
                Now::Failed(error) => {
                    return error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
                }
                Now::Panicked(panic) => match panic.take() {
                    Some(panic) => resume_unwind(panic),
                    None => return Poll::Pending,
                },
            };
            state.set(State::Called(called));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::ready};

    use futures_util::FutureExt as _;
    use hyper::service::Service as _;
    use tower::service_fn;

    use super::*;

    #[test]
    fn a_service_that_is_ready_is_called_before_anybody_waits_for_its_answer() {
        let (told, heard) = std::sync::mpsc::channel();
        let service = service_fn(move |request: u32| {
            told.send(request).unwrap();
            ready(Ok::<_, Infallible>(request + 1))
        });
        let answer = Prompt::new(service).call(1);
        assert_eq!(heard.try_recv(), Ok(1));
        assert_eq!(answer.now_or_never(), Some(Ok(2)));
    }

    /// Ready when it is asked for the third time, itself and no clone.
    struct Third(u8);

    impl Clone for Third {
        fn clone(&self) -> Self {
            Self(0)
        }
    }

    impl Service<u32> for Third {
        type Response = u32;
        type Error = Infallible;
        type Future = std::future::Ready<Result<u32, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.0 += 1;
            if self.0 < 3 { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn call(&mut self, request: u32) -> Self::Future {
            ready(Ok(request + 1))
        }
    }

    #[test]
    fn one_that_is_not_is_waited_for_and_not_a_clone_behind_it() {
        let service = Prompt::new(Third(0));
        let mut answers = [service.call(1), service.call(2)];
        for answer in &mut answers {
            assert_eq!(answer.now_or_never(), None);
        }
        assert_eq!(answers.map(|answer| answer.now_or_never()), [Some(Ok(2)), Some(Ok(3))]);
    }

    #[test]
    fn a_panic_is_that_of_who_waits_for_the_answer() {
        let service = service_fn(|()| -> std::future::Ready<Result<(), Infallible>> { panic!("no") });
        let answer = Prompt::new(service).call(());
        assert!(catch_unwind(AssertUnwindSafe(|| answer.now_or_never())).is_err());
    }
}
