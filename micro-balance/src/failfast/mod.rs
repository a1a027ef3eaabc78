//! Fails at once what would only wait for a service that has been down for a while.
//!
//! A request may wait a moment for a service that is not ready: it may be about to be. Once it has not been
//! ready for longer than that, waiting only piles up requests.

mod gauge;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use self::gauge::{Gauge, Place};
use crate::{
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

impl FailfastLayer {
    /// Fails requests when the service has not been ready for `limit`; up to 10 000 wait until then.
    pub fn new(limit: Duration) -> Self {
        Self { gauge: Arc::new(Gauge::new()), limit, queue: 10_000 }
    }

    /// How many requests may wait at once.
    pub fn queue(mut self, max: u32) -> Self {
        self.queue = max;
        self
    }

    /// How many requests wait for the service.
    pub fn waiting(&self) -> u32 {
        self.gauge.waiting()
    }

    /// Whether requests fail at once; each of them asks the service first whether it is ready again.
    pub fn is_failing(&self) -> bool {
        self.gauge.is_failing(self.limit)
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
        let max = self.layer.queue;
        let place = self.layer.gauge.place(max, now);
        place.ok_or(Overloaded(Reason::QueueFull { waiting: max }))
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
