//! The hedging layer and its service.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    call::{Call, Plan},
    latency::Latencies,
    response::ResponseFuture,
};
use crate::{
    retry::{Budget, Head, Kind, Replay, ReplayBody, When},
    setting::InvalidSetting,
    tried::Tried,
};

/// Wraps services in [`Hedge`]. All services wrapped by one layer share its budget and what it knows of
/// latencies.
///
/// ```
/// use std::time::Duration;
/// use micro_balance::hedge::HedgeLayer;
///
/// // Hedges what takes longer than 95 % of all requests: at most 5 % more requests.
/// let layer = HedgeLayer::percentile(0.95)?;
/// let other = HedgeLayer::after(Duration::from_millis(50)).attempts(3);
/// # let _ = (layer, other);
/// # Ok::<(), micro_balance::InvalidSetting>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct HedgeLayer {
    config: Config,
}

/// The settings of a hedging layer.
#[derive(Clone, Debug)]
pub(super) struct Config {
    delay: Delay,
    pub(super) attempts: u32,
    pub(super) budget: Budget,
    pub(super) non_fatal: Option<When>,
    keep: usize,
}

#[derive(Clone, Debug)]
enum Delay {
    Fixed(Duration),
    Percentile(Arc<Latencies>),
}

impl Config {
    /// How long to wait before a hedge; `None` while that is not known.
    pub(super) fn delay(&self, now: Instant) -> Option<Duration> {
        match &self.delay {
            Delay::Fixed(delay) => Some(*delay),
            Delay::Percentile(latencies) => latencies.percentile(now),
        }
    }

    pub(super) fn record(&self, latency: Duration) {
        if let Delay::Percentile(latencies) = &self.delay {
            latencies.record(latency);
        }
    }
}

impl HedgeLayer {
    /// Hedges requests that are not answered after `delay`.
    pub fn after(delay: Duration) -> Self {
        Self::with(Delay::Fixed(delay), 0.05)
    }

    /// Hedges requests that take longer than `part` of the recent ones, for example 0.95, and at least 1 ms.
    ///
    /// The budget is what remains: with 0.95, one hedge for twenty requests. Nothing is hedged before enough
    /// requests were answered to tell. What fails sooner than a hedge would be sent tells nothing of how long answers take;
    /// what fails later, or is given up, counts as an answer of that time.
    ///
    /// # Errors
    ///
    /// When `part` is not between 0 and 1.
    pub fn percentile(part: f64) -> Result<Self, InvalidSetting> {
        if !(part > 0.0 && part < 1.0) {
            return Err(InvalidSetting::new("the percentile of hedging", part, "between 0 and 1"));
        }
        let latencies = Latencies::new(part, Duration::from_millis(1));
        Ok(Self::with(Delay::Percentile(Arc::new(latencies)), 1.0 - part))
    }

    fn with(delay: Delay, ratio: f64) -> Self {
        let budget = Budget::new(ratio, 0, Duration::from_secs(10)).expect("a part of one is a valid ratio");
        Self { config: Config { delay, attempts: 2, budget, non_fatal: None, keep: 64 << 10 } }
    }

    /// How many attempts may be under way for one request, with the first; 2 unless given, at most 5.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.config.attempts = attempts.clamp(1, 5);
        self
    }

    /// How many hedges the traffic affords.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.config.budget = budget;
        self
    }

    /// Takes failures as gRPC's hedging does, <https://github.com/grpc/proposal/blob/master/A6-client-retries.md>: one of
    /// these answers, or a connection that breaks, has the next attempt sent at once, and is the caller's answer only when no
    /// attempt is left; any other answer ends the race.
    ///
    /// Unless given, a failure of an endpoint waits for the attempts that are under way, and repeating it is the work of
    /// a retry layer.
    pub fn non_fatal(mut self, when: When) -> Self {
        self.config.non_fatal = Some(when);
        self
    }

    /// How many bytes of a request body are kept; a request whose body is longer is not hedged.
    pub fn keep(mut self, bytes: usize) -> Self {
        self.config.keep = bytes;
        self
    }
}

impl<S> Layer<S> for HedgeLayer {
    type Service = Hedge<S>;

    fn layer(&self, inner: S) -> Hedge<S> {
        Hedge { inner, config: Arc::new(self.config.clone()) }
    }
}

/// Sends a second request when the first takes unusually long. Made by [`HedgeLayer`].
///
/// Goes around the retry layer. Every attempt carries the same [`Tried`] in its extensions, so that a
/// balancer sends it to an endpoint of its own. The first response that is no failure is taken and all other
/// attempts are dropped, which resets their streams; a failure is taken when no other attempt is left.
#[derive(Clone, Debug)]
pub struct Hedge<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S, B, R> Service<Request<B>> for Hedge<S>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = ResponseFuture<S, S::Future, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let began = Instant::now();
        let kind = Kind::of(&request);
        let delay = if kind.repeatable { self.config.delay(began) } else { None };
        let (mut parts, body) = request.into_parts();
        let replay = Replay::new(body, if delay.is_some() { self.config.keep } else { 0 });
        let first = replay.first();
        let plan = delay.map(|delay| {
            let head = Head::of(&parts, kind.grpc);
            let tried = parts.extensions.get_or_insert_default::<Tried>().clone();
            Plan { service: self.inner.clone(), head, tried, replay, delay }
        });
        // Before the service is called, which may panic: dropped, it is over for the budget.
        let call = Call::new(self.config.clone(), began, kind, plan);
        // The readied service takes the first attempt; hedges go through a clone.
        let first = self.inner.call(Request::from_parts(parts, first));
        ResponseFuture::new(first, delay, call)
    }
}
