//! A future that is polled only when it was woken: for what waits long beside something that is polled often.
//!
//! A connection is polled for every request, and each time would ask its timers, and whether the server ends, behind locks.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use pin_project::pin_project;

use super::asked::Part;

/// Polls `F` when it asked for that, and when another task waits for it.
#[pin_project]
pub(super) struct Seldom<F> {
    #[pin]
    inner: F,
    part: Part,
    /// Whom it tells.
    task: Waker,
}

impl<F> Seldom<F> {
    pub(super) fn new(inner: F) -> Self {
        Self { inner, part: Part::default(), task: Waker::noop().clone() }
    }
}

impl<F: Future> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if !this.task.will_wake(cx.waker()) {
            this.task.clone_from(cx.waker());
            this.part.asked().tell(cx.waker());
        }
        if !this.part.asked().take() {
            return Poll::Pending;
        }
        this.inner.poll(&mut Context::from_waker(this.part.waker()))
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::{sync::oneshot, time::sleep};
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_polled_again_when_it_was_woken_and_not_before() {
        let (mut polls, mut wait) = (0, Box::pin(sleep(Duration::from_secs(9))));
        let counted = poll_fn(|cx| {
            polls += 1;
            wait.as_mut().poll(cx).map(|()| polls)
        });
        let mut seldom = task::spawn(Seldom::new(counted));
        for _ in 0..5 {
            assert_pending!(seldom.poll());
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(seldom.is_woken());
        assert_eq!(assert_ready!(seldom.poll()), 2);
    }

    #[tokio::test]
    async fn whoever_waits_for_it_last_is_told() {
        let (tell, told) = oneshot::channel();
        let mut seldom = Box::pin(Seldom::new(told));
        let mut first = task::spawn(poll_fn(|cx| seldom.as_mut().poll(cx)));
        assert_pending!(first.poll());
        drop(first);
        let mut second = task::spawn(seldom);
        assert_pending!(second.poll());
        tell.send(7).unwrap();
        assert!(second.is_woken());
        assert_eq!(assert_ready!(second.poll()), Ok(7));
    }
}
