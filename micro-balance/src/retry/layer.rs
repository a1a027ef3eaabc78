//! The retry layer and its service.

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
    backoff::Backoff,
    budget::Budget,
    call::{Call, Config},
    figures::Figures,
    peek::PeekBody,
    replay::ReplayBody,
    response::ResponseFuture,
    when::When,
};
use crate::{chance::Chance, saturating::within};

/// Wraps services in [`Retry`]. All services wrapped by one layer, or by its clones, share its budget.
///
/// What provably never left ([`NotSent`](crate::NotSent)) costs neither an attempt nor a token: it is sent as long as the
/// caller has time, or for 3 s where the caller says none. What a server turned away unread is sent again so once.
///
/// ```
/// use micro_balance::retry::{Budget, RetryLayer};
///
/// let layer = RetryLayer::new().attempts(2).budget(Budget::endless());
/// # let _ = layer;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RetryLayer {
    config: Config,
    at_most: u32,
}

impl Default for RetryLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl RetryLayer {
    /// Three attempts, the default [`When`], [`Budget`] and [`Backoff`], 64 KiB of body kept, 10 ms to look
    /// at the first frame of a gRPC response.
    pub fn new() -> Self {
        let config = Config {
            attempts: 3,
            keep: 64 << 10,
            look: Duration::from_millis(10),
            whole: 64 << 10,
            whole_timeout: None,
            share_time: false,
            when: When::default(),
            budget: Budget::default(),
            backoff: Backoff::default(),
            retry_after_jitter: 0.0,
            chance: Arc::new(Chance::new(fastrand::u64(..))),
            figures: None,
            deadline: || None,
        };
        Self { config, at_most: 5 }
    }

    /// How often a request is sent, with the first time; at least once and at most five times, or what
    /// [`at_most`](Self::at_most) says. A gRPC call that was tried before it came here (`grpc-previous-rpc-attempts`) has so
    /// many fewer.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.config.attempts = attempts;
        self
    }

    /// Caps the attempts, wherever their number came from. 5 unless given; 0 changes nothing.
    pub fn at_most(mut self, attempts: u32) -> Self {
        if attempts > 0 {
            self.at_most = attempts;
        }
        self
    }

    /// Which answers call for another attempt.
    pub fn when(mut self, when: When) -> Self {
        self.config.when = when;
        self
    }

    /// How many retries the traffic affords.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.config.budget = budget;
        self
    }

    /// How long to wait between attempts, where the server does not say.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.config.backoff = backoff;
        self
    }

    /// Waits up to this part longer than a `Retry-After` says, by chance, that not all who were told the same are back at the
    /// same time; nothing unless given, and at most as long again. Envoy has 0.5. What gRPC says is waited for exactly.
    pub fn retry_after_jitter(mut self, part: f64) -> Self {
        self.config.retry_after_jitter = within(part, 0.0, 1.0);
        self
    }

    /// How many bytes of a request body are kept; a request whose body is longer is sent once.
    pub fn keep(mut self, bytes: usize) -> Self {
        self.config.keep = bytes;
        self
    }

    /// How long the head of a gRPC response is held back until its first frame tells whether the call
    /// failed. Zero looks only at what is there already.
    ///
    /// Of a call that may be repeated and was sent whole, it is held back for 3 s at least, unless `wait` is zero:
    /// an endpoint that dies between the head and the first message is then no failure of the call.
    pub fn look(mut self, wait: Duration) -> Self {
        self.config.look = wait;
        self
    }

    /// Up to which length an answer is held back until it is whole, where a call that may be repeated is answered
    /// over plain HTTP: 64 KiB unless set, nothing if 0. An endpoint that dies in the middle of such an answer is
    /// then no failure of the call.
    ///
    /// Only answers that say how long they are (`content-length`). One that is not whole in 3 s is handed on as far as
    /// it is there; or see [`whole_timeout`](Self::whole_timeout).
    pub fn whole(mut self, bytes: u64) -> Self {
        self.config.whole = bytes;
        self
    }

    /// How long an answer that is held back until it is [`whole`](Self::whole) may take, once its head is there; then it is
    /// asked for again. An attempt whose answer does not begin is ended by a
    /// [`TimeoutLayer`](crate::timeout::TimeoutLayer) within this layer.
    pub fn whole_timeout(mut self, limit: Duration) -> Self {
        self.config.whole_timeout = Some(limit);
        self
    }

    /// Shares what is left of a call's time among the attempts it has left, at least 10 ms each, so that one that hangs
    /// leaves time for the next. A [`SharedTimeoutLayer`](crate::timeout::SharedTimeoutLayer) within this layer ends
    /// an attempt whose share is used up.
    ///
    /// The last attempt has all that is left; so has one that would not be repeated.
    pub fn share_time(mut self) -> Self {
        self.config.share_time = true;
        self
    }

    /// Where to learn by when a call has to be over, beside its `grpc-timeout`; asked before each retry.
    pub fn deadline(mut self, deadline: fn() -> Option<Instant>) -> Self {
        self.config.deadline = deadline;
        self
    }

    /// Tells the [`metrics`] facade of retries, by this name of the service: `micro_balance_retries_total`,
    /// `_retries_refused_total` where the budget does not afford one, and `_retry_budget_left`.
    pub fn metrics(mut self, service: impl Into<Arc<str>>) -> Self {
        self.config.figures = Some(Figures::new(service.into()));
        self
    }

    /// Makes the waits repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.chance = Arc::new(Chance::new(seed));
        self
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        let mut config = self.config.clone();
        config.attempts = config.attempts.clamp(1, self.at_most);
        Retry { inner, config: Arc::new(config) }
    }
}

/// Sends requests again when an attempt fails. Made by [`RetryLayer`].
///
/// Every attempt after the first goes through a clone of the inner service, so that a balancer picks again;
/// [`Tried`](crate::Tried) in the request's extensions tells it where not to go.
#[derive(Clone, Debug)]
pub struct Retry<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S, B, R> Service<Request<B>> for Retry<S>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
    R: Body + Unpin,
{
    type Response = Response<PeekBody<R>>;
    type Error = BoxError;
    type Future = ResponseFuture<S, S::Future, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was made ready is the one to call; its clone takes its place.
        let next = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, next);
        let (mut call, request) = Call::begin(ready, self.config.clone(), request);
        let attempt = call.send(request);
        ResponseFuture::new(attempt, call)
    }
}

#[cfg(test)]
mod tests {
    use http::{Response, StatusCode};

    use super::*;
    use crate::retry::{Kind, Verdict};

    /// What the layer does of its own accord is what it says, and no request is sent more than twice again.
    #[test]
    fn the_defaults_are_two_retries_of_what_is_unavailable_with_64_kib_kept() {
        let RetryLayer { config, at_most } = RetryLayer::new();
        assert_eq!((config.attempts, at_most, config.keep), (3, 5, 64 << 10));
        let waits: Vec<_> = (0..6).map(|retry| config.backoff.whole(retry).as_millis()).collect();
        assert_eq!(waits, [25, 50, 100, 200, 250, 250]);
        assert_eq!(config.backoff.wait(1, 0.5), config.backoff.whole(1) / 2, "full jitter");
        let again = |status: u16, code: Option<u16>| {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            code.map(|code| response.headers_mut().insert("grpc-status", code.into()));
            let kind = Kind { grpc: code.is_some(), repeatable: true };
            matches!(config.when.response(kind, &response), Verdict::Retry(_))
        };
        let statuses: Vec<_> = (200..600).filter(|&status| again(status, None)).collect();
        let codes: Vec<_> = (0..=16).filter(|&code| again(200, Some(code))).collect();
        assert_eq!((statuses, codes), (vec![502, 503, 504], vec![14]));
    }
}
