//! What a connection's requests are doing: whether there are any, and whether the client takes its answers.

use std::{
    future::pending,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use micro_balance::Clock;
use pin_project::pin_project;
use tokio::time::sleep;
use tower::BoxError;

use super::settings::Limits;

/// The requests of one connection. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Pace(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    in_flight: AtomicUsize,
    ending: AtomicBool,
    given_up: AtomicBool,
    /// Answers of which the client was handed something, and that were not asked for more.
    handed: AtomicUsize,
    /// When something last happened, in milliseconds since the beginning; 0 while nothing has.
    moved: AtomicU64,
}

impl Pace {
    pub(super) fn new() -> Self {
        let (in_flight, ending, given_up, handed, moved) = Default::default();
        Self(Arc::new(Shared { clock: Clock::new(), in_flight, ending, given_up, handed, moved }))
    }

    /// One more request, until what this gives is dropped.
    pub(super) fn begin(&self) -> Request {
        self.0.in_flight.fetch_add(1, Relaxed);
        Request { pace: self.clone(), over: false }
    }

    /// From now on each answer is the last of its connection, and says so: there are no more after it in HTTP/1.
    pub(super) fn end(&self) {
        self.0.ending.store(true, Relaxed);
    }

    /// Gives the client up, and says why.
    pub(super) fn takes_nothing(&self) -> BoxError {
        self.0.given_up.store(true, Relaxed);
        "the client takes nothing".into()
    }

    /// Whether what was written and not taken may be forgotten.
    pub(super) fn is_given_up(&self) -> bool {
        self.0.given_up.load(Relaxed)
    }

    /// Whether there has been no request yet.
    pub(super) fn is_new(&self) -> bool {
        self.0.moved.load(Relaxed) == 0 && self.is_idle()
    }

    /// Whether there is no request.
    pub(super) fn is_idle(&self) -> bool {
        self.0.in_flight.load(Relaxed) == 0
    }

    /// Ends when the connection has had no request for too long: from the beginning, or since the last.
    pub(super) async fn idle(&self, limits: &Limits) {
        loop {
            let limit =
                if self.0.moved.load(Relaxed) == 0 { limits.header_timeout } else { limits.idle_timeout };
            // Asked once: a long request may end in between, and then `quiet` is longer than the limit.
            let (busy, quiet) = (self.0.in_flight.load(Relaxed) > 0, self.quiet());
            if !busy && quiet >= limit {
                return;
            }
            let left = if busy { limit } else { limit - quiet };
            sleep(left.max(Duration::from_millis(10))).await;
        }
    }

    /// Ends after `patience` where there has been no request at all: HTTP/2 agrees on its end with the client, and a
    /// silent one never does.
    pub(super) async fn silent(&self, patience: Duration) {
        loop {
            sleep(patience).await;
            if self.0.moved.load(Relaxed) > 0 {
                return pending().await;
            }
            if self.0.in_flight.load(Relaxed) == 0 {
                return;
            }
        }
    }

    /// Ends when the client has taken nothing for too long of what there is for it.
    pub(super) async fn stuck(&self, limits: &Limits) {
        loop {
            let quiet = if self.0.handed.load(Relaxed) > 0 { self.quiet() } else { Duration::ZERO };
            if quiet >= limits.stall_timeout {
                return;
            }
            sleep((limits.stall_timeout - quiet).max(Duration::from_millis(10))).await;
        }
    }

    fn quiet(&self) -> Duration {
        let moved = Duration::from_millis(self.0.moved.load(Relaxed));
        self.0.clock.elapsed().saturating_sub(moved)
    }

    fn moved(&self) {
        let millis = self.0.clock.elapsed().as_millis();
        self.0.moved.store(u64::try_from(millis).unwrap_or(u64::MAX).max(1), Relaxed);
    }
}

/// A request that has not been answered to its end.
#[derive(Debug)]
pub(super) struct Request {
    pace: Pace,
    /// Whether its answer has ended, and the time of that is noted.
    over: bool,
}

impl Request {
    /// Whether its connection ends with its answer.
    pub(super) fn is_last(&self) -> bool {
        self.pace.0.ending.load(Relaxed)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.over {
            self.pace.moved();
        }
        self.pace.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// The body of an answer, which says when the client takes it.
#[pin_project(PinnedDrop)]
pub(super) struct PacedBody<B> {
    #[pin]
    inner: B,
    request: Request,
    handed: bool,
}

impl<B> PacedBody<B> {
    pub(super) fn new(inner: B, request: Request) -> Self {
        Self { inner, request, handed: false }
    }
}

impl<B: Body> Body for PacedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let taken = std::mem::take(this.handed);
        if taken {
            this.request.pace.0.handed.fetch_sub(1, Relaxed);
        }
        let frame = this.inner.as_mut().poll_frame(cx);
        let data = matches!(&frame, Poll::Ready(Some(Ok(frame))) if frame.is_data());
        if data {
            *this.handed = true;
            this.request.pace.0.handed.fetch_add(1, Relaxed);
        }
        // Once for all that happens here: the clock takes longer than the rest of it.
        if taken || frame.is_ready() {
            this.request.pace.moved();
            // What is told to be the last is the end: it will not be asked for more.
            this.request.over = frame.is_ready() && (!data || this.inner.is_end_stream());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[pin_project::pinned_drop]
impl<B> PinnedDrop for PacedBody<B> {
    fn drop(self: Pin<&mut Self>) {
        if self.handed {
            self.request.pace.0.handed.fetch_sub(1, Relaxed);
        }
    }
}
