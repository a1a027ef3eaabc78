//! The breaker as a layer, and its service.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    judge::Judge,
    rate::Rate,
    record::{Pass, Record, Rules, State},
};
use crate::{
    overload::{Overloaded, Reason},
    protocol::{Http, Opaque},
    retry::{Backoff, Jitter},
    sent::{NotSent, Unsent},
};

/// Wraps services in [`Breaker`]. All services wrapped by one layer, or by its clones, share what is known.
///
/// After 5 failures in a row, or where fewer than 0.8 of the requests of the last 30 s went well, requests are turned away
/// for 5 s, and for twice as long each time in a row, up to five minutes, less up to a half by chance. Then one request at a
/// time finds out, a stream by its first message; where nothing comes of it, another does after as long again. Settings are made before services are wrapped.
///
/// ```
/// use std::time::Duration;
/// use micro_balance::{breaker::{BreakerLayer, State}, retry::Backoff, timeout::TimeoutLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let layer = BreakerLayer::new()
///     .consecutive_failures(2)
///     .backoff(Backoff::constant(Duration::from_secs(60)));
/// // What takes too long is a failure only if somebody inside gives up on it.
/// let service = ServiceBuilder::new()
///     .layer(&layer)
///     .layer(TimeoutLayer::per_attempt(Duration::from_secs(1)))
///     .service(service_fn(|(): ()| async { Err::<(), _>("out of order") }));
/// for _ in 0..2 {
///     assert!(service.clone().oneshot(()).await.is_err());
/// }
/// assert!(matches!(layer.state(), State::Open { .. }));
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct BreakerLayer<T = Opaque> {
    rules: Rules,
    seed: u64,
    record: Arc<Record>,
    judge: T,
}

impl Default for BreakerLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl BreakerLayer {
    /// 5 failures in a row, or fewer than 0.8 of 30 s; 5 s at first.
    pub fn new() -> Self {
        let backoff = Backoff::exponential(Duration::from_secs(5), 2.0, Duration::from_secs(300))
            .expect("five seconds are some, and under five minutes")
            .jitter(Jitter::Equal);
        let rate = Rate::within(0.8, Duration::from_secs(30)).expect("0.8 is a part");
        let rules = Rules { failures: 5, rate: Some(rate), backoff };
        let seed = fastrand::u64(..);
        Self { rules, seed, record: Record::new(rules, seed), judge: Opaque }
    }

    /// Reads HTTP and gRPC statuses; otherwise only errors are failures.
    pub fn http(self) -> BreakerLayer<Http> {
        BreakerLayer { rules: self.rules, seed: self.seed, record: self.record, judge: Http }
    }
}

impl<T> BreakerLayer<T> {
    /// After how many failures in a row; 5 unless given, and 0 is never.
    pub fn consecutive_failures(mut self, failures: u32) -> Self {
        self.rules.failures = failures;
        self.anew()
    }

    /// Under which success rate; `None` is never.
    pub fn success_rate(mut self, rate: impl Into<Option<Rate>>) -> Self {
        self.rules.rate = rate.into();
        self.anew()
    }

    /// For how long requests are turned away, by how often in a row the service was found to fail.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.rules.backoff = backoff;
        self.anew()
    }

    /// Makes the jitter repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self.anew()
    }

    /// Whether requests are let through now.
    pub fn state(&self) -> State {
        self.record.state()
    }

    fn anew(mut self) -> Self {
        self.record = Record::new(self.rules, self.seed);
        self
    }
}

impl<T> fmt::Debug for BreakerLayer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerLayer")
            .field("rules", &self.rules)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl<S, T: Clone> Layer<S> for BreakerLayer<T> {
    type Service = Breaker<S, T>;

    fn layer(&self, inner: S) -> Breaker<S, T> {
        Breaker { inner, record: self.record.clone(), judge: self.judge.clone(), unasked: false }
    }
}

/// Turns requests away while the service keeps failing. Made by [`BreakerLayer`].
///
/// While it is open it is ready at once, whether or not the inner service is, and turns away the request that comes then.
/// What was turned away is handed back as [`Unsent`], and a balancer around this service gives it to another endpoint.
pub struct Breaker<S, T = Opaque> {
    inner: S,
    record: Arc<Record>,
    judge: T,
    /// It was open when it was asked whether it is ready: the inner service was not asked.
    unasked: bool,
}

/// Nobody has asked the clone yet whether it is ready.
impl<S: Clone, T: Clone> Clone for Breaker<S, T> {
    fn clone(&self) -> Self {
        let (inner, record, judge) = (self.inner.clone(), self.record.clone(), self.judge.clone());
        Self { inner, record, judge, unasked: false }
    }
}

impl<S: fmt::Debug, T> fmt::Debug for Breaker<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, Req, T> Service<Req> for Breaker<S, T>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    Req: Send + 'static,
    T: Judge<S::Response>,
{
    type Response = T::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.unasked = self.record.is_open();
        if self.unasked { Poll::Ready(Ok(())) } else { self.inner.poll_ready(cx).map_err(Into::into) }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        // A service that was not asked whether it is ready must not be called, even if its time came meanwhile.
        let unasked = std::mem::take(&mut self.unasked);
        let admitted = if unasked { Err(self.record.left()) } else { self.record.admit() };
        let state = match admitted {
            Ok(pass) => Way::Calling(self.inner.call(request), Some(pass)),
            Err(left) => Way::Rejected(Some(Unsent::new(request, Overloaded(Reason::Broken(left))).into())),
        };
        ResponseFuture { state, judge: self.judge.clone() }
    }
}

/// Response of [`Breaker`].
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F, T> {
    #[pin]
    state: Way<F>,
    judge: T,
}

#[pin_project(project = Now)]
#[derive(Debug)]
enum Way<F> {
    Calling(#[pin] F, Option<Pass>),
    Rejected(Option<BoxError>),
}

impl<F, T, Res, E> Future for ResponseFuture<F, T>
where
    F: Future<Output = Result<Res, E>>,
    E: Into<BoxError>,
    T: Judge<Res>,
{
    type Output = Result<T::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const ONCE: &str = "no future is polled after it was ready";
        let this = self.project();
        let (future, pass) = match this.state.project() {
            Now::Calling(future, pass) => (future, pass),
            Now::Rejected(error) => return Poll::Ready(Err(error.take().expect(ONCE))),
        };
        let result = ready!(future.poll(cx)).map_err(Into::into);
        let pass = pass.take().expect(ONCE);
        Poll::Ready(match result {
            Ok(answer) => Ok(this.judge.judge(answer, pass)),
            Err(error) => {
                // What was not sent says nothing of how the service is.
                if !NotSent::is(error.as_ref()) {
                    pass.settle(false);
                }
                Err(error)
            }
        })
    }
}
