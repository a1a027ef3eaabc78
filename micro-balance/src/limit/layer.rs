//! The limiting layer and its service.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    algorithm::Algorithm,
    gate::{Gate, Permit},
    response::ResponseFuture,
};
use crate::{
    answer::Answer,
    overload::{Overloaded, Reason},
    protocol::{Http, Opaque},
};

/// Wraps services in [`Limit`]. All services wrapped by one layer, or by its clones, share one limit.
///
/// ```
/// use std::time::Duration;
/// use micro_balance::limit::{Gradient2, LimitLayer};
///
/// // At most 100 at once; 50 more may wait, for at most 20 ms.
/// let fixed = LimitLayer::new(100).queue(50, Duration::from_millis(20));
/// // As many as the service copes with; HTTP requests count to the end of the response's body.
/// let adaptive = LimitLayer::adaptive(Gradient2::default()).http();
/// assert_eq!((fixed.limit(), adaptive.limit()), (100, 20));
/// ```
#[derive(Clone)]
#[must_use]
pub struct LimitLayer<T = Opaque> {
    gate: Arc<Gate>,
    queue: Queue,
    answer: T,
}

/// How many requests may wait for a place, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    pub(super) max: u32,
    pub(super) wait: Duration,
}

impl LimitLayer {
    /// At most `limit` requests at once; further ones are turned away with [`Overloaded`].
    pub fn new(limit: u32) -> Self {
        Self::with(Gate::fixed(limit))
    }

    /// At most as many requests at once as `algorithm` says, which learns every 100 ms unless it wants otherwise.
    pub fn adaptive(algorithm: impl Algorithm) -> Self {
        Self::with(Gate::adaptive(Box::new(algorithm)))
    }

    fn with(gate: Arc<Gate>) -> Self {
        Self { gate, queue: Queue { max: 0, wait: Duration::ZERO }, answer: Opaque }
    }

    /// Reads HTTP and gRPC statuses, and counts requests to the end of their responses' bodies.
    pub fn http(self) -> LimitLayer<Http> {
        LimitLayer { gate: self.gate, queue: self.queue, answer: Http }
    }
}

impl<T> LimitLayer<T> {
    /// Up to `max` requests wait for their turn, in order, and for at most `wait`.
    pub fn queue(mut self, max: u32, wait: Duration) -> Self {
        self.queue = Queue { max, wait };
        self
    }

    /// How long samples are summed up before an adaptive limit learns from them; zero teaches it each one.
    pub fn window(self, window: Duration) -> Self {
        self.gate.set_window(window);
        self
    }

    /// How many requests may be under way at once.
    pub fn limit(&self) -> u32 {
        self.gate.limit()
    }

    /// How many requests are under way.
    pub fn in_flight(&self) -> u32 {
        self.gate.in_flight()
    }

    /// How many requests wait for their turn.
    pub fn waiting(&self) -> u32 {
        self.gate.waiting()
    }
}

impl<T: fmt::Debug> fmt::Debug for LimitLayer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitLayer")
            .field("gate", &self.gate)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

impl<S, T: Clone> Layer<S> for LimitLayer<T> {
    type Service = Limit<S, T>;

    fn layer(&self, inner: S) -> Limit<S, T> {
        Limit { inner, layer: self.clone() }
    }
}

/// Lets no more requests through at once than allowed. Made by [`LimitLayer`].
///
/// It is ready whenever the inner service is: a request finds out in its own future whether it is let
/// through, so nobody holds a place without using it. What is turned away is handed back as
/// [`Unsent`](crate::Unsent), and a balancer around this service gives it to another endpoint.
#[derive(Clone, Debug)]
pub struct Limit<S, T = Opaque> {
    inner: S,
    layer: LimitLayer<T>,
}

impl<S, Req, T> Service<Req> for Limit<S, T>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    Req: Send + 'static,
    T: Answer<S::Response>,
{
    type Response = T::Held<Permit>;
    type Error = BoxError;
    type Future = ResponseFuture<S, S::Future, Req, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let LimitLayer { gate, queue, answer } = &self.layer;
        let answer = answer.clone();
        if let Some(permit) = gate.try_enter() {
            return ResponseFuture::calling(self.inner.call(request), permit, answer);
        }
        if queue.max == 0 {
            let why = Overloaded(Reason::Full { limit: gate.limit() });
            return ResponseFuture::rejected(request, why, answer);
        }
        match gate.wait(queue.max) {
            // The clone is made ready once it is its turn; the readied service serves the next request.
            Some(waiting) => ResponseFuture::queued(request, self.inner.clone(), waiting, queue.wait, answer),
            None => {
                let why = Overloaded(Reason::QueueFull { waiting: queue.max });
                ResponseFuture::rejected(request, why, answer)
            }
        }
    }
}
