//! The time as hyper's HTTP/2 sees it, which stands still while a connection is served.
//!
//! hyper notes of every head and every piece of a body when it came, to know when to ask a silent client whether it is
//! still there. What came together came at the same time, and the clock is read once for all of it.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use pin_project::pin_project;

/// Tokio's timer, and a time that is set by hand. Clones share it.
#[derive(Clone)]
pub(super) struct StillTimer {
    inner: TokioTimer,
    began: Instant,
    /// How long after that it is, in nanoseconds.
    passed: Arc<AtomicU64>,
}

impl StillTimer {
    pub(super) fn new() -> Self {
        let inner = TokioTimer::new();
        Self { began: inner.now(), inner, passed: Arc::default() }
    }

    /// A connection that sets the time whenever it is polled.
    pub(super) fn over<C>(&self, connection: C) -> Timed<C> {
        Timed { connection, timer: self.clone() }
    }

    fn set(&self) {
        let passed = self.inner.now().saturating_duration_since(self.began).as_nanos();
        self.passed.store(u64::try_from(passed).unwrap_or(u64::MAX), Relaxed);
    }
}

impl Timer for StillTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.inner.sleep(duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.inner.sleep_until(deadline)
    }

    fn now(&self) -> Instant {
        self.began + Duration::from_nanos(self.passed.load(Relaxed))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        self.inner.reset(sleep, deadline);
    }
}

/// A connection whose timer is set whenever it is polled.
#[pin_project]
pub(super) struct Timed<C> {
    #[pin]
    pub(super) connection: C,
    timer: StillTimer,
}

impl<C: Future> Future for Timed<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.project();
        this.timer.set();
        this.connection.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_passes_between_polls_and_not_within_one() {
        let timer = StillTimer::new();
        let began = timer.now();
        let seen = timer.clone();
        let mut polls = 0;
        let connection = std::future::poll_fn(move |cx| {
            let late = Duration::from_secs(60 * polls);
            assert_eq!(seen.now(), began + late);
            polls += 1;
            cx.waker().wake_by_ref();
            if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
        });
        let mut connection = tokio_test::task::spawn(timer.over(connection));
        while connection.poll().is_pending() {
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        assert_eq!(timer.now(), began + Duration::from_secs(120));
    }
}
