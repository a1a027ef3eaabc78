//! Fails at once what would only wait for a service that has been down for a while.
//!
//! A request may wait a moment for a service that is not ready: it may be about to be. Once it has not been
//! ready for longer than that, waiting only piles up requests.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    ewma::nanos,
    overload::{Overloaded, Reason},
    saturating::end,
    sent::Unsent,
};

/// Wraps services in [`Failfast`]. All services wrapped by one layer share what they know of its readiness.
///
/// ```
/// use std::time::Duration;
/// use micro_balance::failfast::FailfastLayer;
///
/// let layer = FailfastLayer::new(Duration::from_secs(3)).queue(10_000);
/// assert!(!layer.is_failing());
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct FailfastLayer {
    gauge: Arc<Gauge>,
    limit: Duration,
    queue: u32,
}

/// What is known of the service.
#[derive(Debug)]
struct Gauge {
    epoch: Instant,
    /// Nanoseconds since the epoch when it was first seen not to be ready, plus one; 0 while it is.
    unready: AtomicU64,
    /// The same of when it was last seen so.
    seen: AtomicU64,
    waiting: AtomicU32,
}

impl Gauge {
    fn ready(&self) {
        if self.unready.load(Relaxed) != 0 {
            self.unready.store(0, Relaxed);
        }
    }

    /// Since when the service has not been ready, now that it is not.
    fn unready(&self, now: Instant, limit: Duration) -> Instant {
        let nanos = self.nanos(now);
        let stale = self.is_stale(now, limit);
        self.seen.store(nanos, Relaxed);
        if stale {
            self.unready.store(nanos, Relaxed);
            return now;
        }
        match self.unready.compare_exchange(0, nanos, Relaxed, Relaxed) {
            Ok(_) => now,
            Err(since) => self.instant(since),
        }
    }

    /// Whether nobody has looked for so long that the service may well have been ready meanwhile: one who waits looks again
    /// after the limit.
    fn is_stale(&self, now: Instant, limit: Duration) -> bool {
        let seen = self.seen.load(Relaxed);
        seen != 0 && now.saturating_duration_since(self.instant(seen)) > limit.saturating_mul(2)
    }

    fn nanos(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.epoch)).saturating_add(1)
    }

    fn instant(&self, unready: u64) -> Instant {
        self.epoch + Duration::from_nanos(unready - 1)
    }
}

impl FailfastLayer {
    /// Fails requests when the service has not been ready for `limit`; up to 10 000 wait until then.
    pub fn new(limit: Duration) -> Self {
        let gauge = Gauge {
            epoch: Instant::now(),
            unready: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
        };
        Self { gauge: Arc::new(gauge), limit, queue: 10_000 }
    }

    /// How many requests may wait at once.
    pub fn queue(mut self, max: u32) -> Self {
        self.queue = max;
        self
    }

    /// How many requests wait for the service.
    pub fn waiting(&self) -> u32 {
        self.gauge.waiting.load(Relaxed)
    }

    /// Whether requests fail at once; each of them asks the service first whether it is ready again.
    pub fn is_failing(&self) -> bool {
        match self.gauge.unready.load(Relaxed) {
            0 => false,
            unready => {
                let fails = self.gauge.instant(unready).elapsed() >= self.limit;
                fails && !self.gauge.is_stale(Instant::now(), self.limit)
            }
        }
    }
}

impl<S> Layer<S> for FailfastLayer {
    type Service = Failfast<S>;

    fn layer(&self, inner: S) -> Failfast<S> {
        Failfast { inner, layer: self.clone() }
    }
}

/// Always ready itself: requests wait for the inner service in their own futures, and not for long. Made by
/// [`FailfastLayer`].
#[derive(Clone, Debug)]
pub struct Failfast<S> {
    inner: S,
    layer: FailfastLayer,
}

impl<S, Req> Service<Req> for Failfast<S>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    Req: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, S::Future, Req>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let asking = Asking {
            request: Some(request),
            service: self.inner.clone(),
            layer: self.layer.clone(),
            place: None,
        };
        ResponseFuture { state: State::Asking(asking, None) }
    }
}

/// Response of [`Failfast`].
#[pin_project]
pub struct ResponseFuture<S, F, Req> {
    #[pin]
    state: State<S, F, Req>,
}

#[pin_project(project = Now)]
enum State<S, F, Req> {
    /// The service is not ready yet, as far as we know.
    Asking(Asking<S, Req>, #[pin] Option<Sleep>),
    Calling(#[pin] F),
}

struct Asking<S, Req> {
    request: Option<Req>,
    service: S,
    layer: FailfastLayer,
    place: Option<Place>,
}

/// A place among those who wait, and since when it is taken.
struct Place {
    gauge: Arc<Gauge>,
    began: Instant,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gauge.waiting.fetch_sub(1, Relaxed);
    }
}

impl<S, F, Req> Future for ResponseFuture<S, F, Req>
where
    S: Service<Req, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<S::Response, S::Error>>,
    Req: Send + 'static,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let future = match state.as_mut().project() {
                Now::Calling(future) => return future.poll(cx).map_err(Into::into),
                Now::Asking(asking, sleep) => ready!(asking.poll(sleep, cx))?,
            };
            state.set(State::Calling(future));
        }
    }
}

impl<S, Req> Asking<S, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    Req: Send + 'static,
{
    fn poll(
        &mut self,
        mut sleep: Pin<&mut Option<Sleep>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Future, BoxError>> {
        match self.service.poll_ready(cx) {
            Poll::Ready(Ok(())) => {
                self.layer.gauge.ready();
                let request = self.request.take().expect("no future is polled after it was ready");
                return Poll::Ready(Ok(self.service.call(request)));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(self.hand_back(error))),
            Poll::Pending => {}
        }
        loop {
            let now = Instant::now();
            let since = self.layer.gauge.unready(now, self.layer.limit);
            let began = match &self.place {
                Some(place) => place.began,
                None if end(since, self.layer.limit) > now => {
                    let place = match self.place(now) {
                        Ok(place) => self.place.insert(place),
                        Err(full) => return Poll::Ready(Err(self.hand_back(full))),
                    };
                    place.began
                }
                None => now,
            };
            // If the service was ready meanwhile, for others, this request has waited long enough too.
            let end = end(since.min(began), self.layer.limit);
            if end <= now {
                return Poll::Ready(Err(self.hand_back(Overloaded(Reason::Unready(self.layer.limit)))));
            }
            match sleep.as_mut().as_pin_mut() {
                Some(sleep) if sleep.deadline() == end => {}
                Some(sleep) => sleep.reset(end),
                None => sleep.set(Some(sleep_until(end))),
            }
            if let Some(sleep) = sleep.as_mut().as_pin_mut() {
                ready!(sleep.poll(cx));
            }
        }
    }

    fn place(&self, now: Instant) -> Result<Place, Overloaded> {
        let (gauge, max) = (&self.layer.gauge, self.layer.queue);
        let place = |waiting: u32| (waiting < max).then_some(waiting + 1);
        match gauge.waiting.fetch_update(Relaxed, Relaxed, place) {
            Ok(_) => Ok(Place { gauge: gauge.clone(), began: now }),
            Err(_) => Err(Overloaded(Reason::QueueFull { waiting: max })),
        }
    }

    fn hand_back(&mut self, why: impl Into<BoxError>) -> BoxError {
        let request = self.request.take().expect("no future is polled after it was ready");
        Unsent::new(request, why).into()
    }
}

impl<S, F, Req> fmt::Debug for ResponseFuture<S, F, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
