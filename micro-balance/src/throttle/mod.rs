//! Stops sending to a service that turns most requests away.
//!
//! Turning a request away costs a service nearly as much as answering it. A client that sees this happen
//! lets only as many requests through as have a chance.

mod response;
mod service;

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

pub use self::{
    response::{Counted, ResponseFuture},
    service::Throttle,
};
use crate::{
    chance::Chance,
    protocol::{Http, Opaque},
    setting::InvalidSetting,
    sliding::Sliding,
};

const REQUESTS: usize = 0;
const ACCEPTED: usize = 1;

/// Wraps services in [`Throttle`]. All services wrapped by one layer share what it has seen.
///
/// A request is turned away with probability `max(0, (requests - k * accepted) / (requests + 1))`, over the
/// last two minutes and with `k` = 2: adaptive throttling,
/// <https://sre.google/sre-book/handling-overload/#eq2101>. A request counts once it has ended, as one that is under way
/// has not been turned away. [`ThrottleLayer::envoy`] goes by the success rate instead.
///
/// ```
/// use micro_balance::throttle::ThrottleLayer;
///
/// let layer = ThrottleLayer::new().k(1.5)?.http();
/// assert_eq!(layer.rejection(), 0.0);
/// # Ok::<(), micro_balance::InvalidSetting>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct ThrottleLayer<T = Opaque> {
    counts: Arc<Sliding<2>>,
    chance: Arc<Chance>,
    rule: Rule,
    answer: T,
}

/// How many requests are turned away.
#[derive(Clone, Copy, Debug)]
struct Rule {
    k: f64,
    aggression: f64,
    most: f64,
    /// Whether any failure is as good as a request turned away, and only what was sent counts.
    success: bool,
    /// How many requests a second there have to be in a window of so many seconds.
    min_rate: f64,
    window: f64,
}

impl Default for ThrottleLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl ThrottleLayer {
    /// Counts over two minutes, with `k` = 2.
    pub fn new() -> Self {
        Self::by(2.0, 1.0, false, Duration::from_secs(120))
    }

    /// Envoy's admission control: turns requests away once fewer than 95 % of those that were sent in the last 30 s went
    /// well, and four of five at most,
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/admission_control_filter>.
    ///
    /// What did not go well are, beside errors, answers that
    /// [say that the service failed](crate::Answer::is_failure).
    pub fn envoy() -> Self {
        Self::by(1.0 / 0.95, 0.8, true, Duration::from_secs(30))
    }

    /// Turns nothing away: for a stack that is of one type whether requests are throttled or not.
    pub fn off() -> Self {
        Self::by(2.0, 0.0, false, Duration::from_secs(120))
    }

    fn by(k: f64, most: f64, success: bool, window: Duration) -> Self {
        let rule = Rule { k, aggression: 1.0, most, success, min_rate: 0.0, window: window.as_secs_f64() };
        let counts = Arc::new(Sliding::new(window));
        Self { counts, chance: Arc::new(Chance::new(fastrand::u64(..))), rule, answer: Opaque }
    }

    /// Reads HTTP and gRPC statuses, of gRPC in trailers as well; otherwise only errors are failures.
    pub fn http(self) -> ThrottleLayer<Http> {
        ThrottleLayer { counts: self.counts, chance: self.chance, rule: self.rule, answer: Http }
    }
}

impl<T> ThrottleLayer<T> {
    /// How many requests are sent for each that is accepted: 2 lets the service see twice what it can take,
    /// and so learn at once when it recovers. Of [`ThrottleLayer::envoy`] 1 divided by the success rate that is enough.
    ///
    /// # Errors
    ///
    /// When `k` is not a number from 1 on.
    pub fn k(mut self, k: f64) -> Result<Self, InvalidSetting> {
        if !(k.is_finite() && k >= 1.0) {
            return Err(InvalidSetting::new("k of adaptive throttling", k, "at least 1"));
        }
        self.rule.k = k;
        Ok(self)
    }

    /// Turns more away, the root of this order of the part that it would be; 1 unless given.
    ///
    /// # Errors
    ///
    /// When `aggression` is not a number from 1 on.
    pub fn aggression(mut self, aggression: f64) -> Result<Self, InvalidSetting> {
        if !(aggression.is_finite() && aggression >= 1.0) {
            return Err(InvalidSetting::new("the aggression of throttling", aggression, "at least 1"));
        }
        self.rule.aggression = aggression;
        Ok(self)
    }

    /// Turns away at most this part of the requests; all there are unless given, as long as nothing is accepted.
    ///
    /// # Errors
    ///
    /// When `part` is not from 0 to 1.
    pub fn at_most(mut self, part: f64) -> Result<Self, InvalidSetting> {
        if !(0.0..=1.0).contains(&part) {
            return Err(InvalidSetting::new("the part that is turned away", part, "from 0 to 1"));
        }
        self.rule.most = part;
        Ok(self)
    }

    /// Turns nothing away while there are fewer requests a second than this, on average over the window: one failure among few
    /// says little. 0 unless given. Envoy's `rps_threshold`.
    ///
    /// # Errors
    ///
    /// When `requests` is not a number from 0 on.
    pub fn min_rate(mut self, requests: f64) -> Result<Self, InvalidSetting> {
        if !(requests.is_finite() && requests >= 0.0) {
            return Err(InvalidSetting::new("the least rate of throttling", requests, "from 0 on"));
        }
        self.rule.min_rate = requests;
        Ok(self)
    }

    /// How long requests are remembered. Two minutes unless given. Forgets what was counted.
    pub fn window(mut self, window: Duration) -> Self {
        self.rule.window = window.as_secs_f64();
        self.counts = Arc::new(Sliding::new(window));
        self
    }

    /// Makes the choice of requests repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.chance = Arc::new(Chance::new(seed));
        self
    }

    /// The part of requests that is turned away now.
    pub fn rejection(&self) -> f64 {
        let still = self.counts.still(Instant::now());
        self.part(still.sum(REQUESTS), still.sum(ACCEPTED))
    }

    fn part(&self, requests: i64, accepted: i64) -> f64 {
        let (requests, accepted) = (requests as f64, accepted as f64);
        if requests < self.rule.min_rate * self.rule.window {
            return 0.0;
        }
        let part = ((requests - self.rule.k * accepted) / (requests + 1.0)).max(0.0);
        part.powf(1.0 / self.rule.aggression).min(self.rule.most)
    }

    /// Draws a request's lot, and counts it if it is turned away.
    fn admit(&self) -> bool {
        self.counts.add(REQUESTS, 0, Instant::now());
        let rejection = self.part(self.counts.sum(REQUESTS), self.counts.sum(ACCEPTED));
        let admitted = rejection <= 0.0 || self.chance.fraction() >= rejection;
        if !admitted && !self.rule.success {
            self.counts.put(REQUESTS, 1);
        }
        admitted
    }
}

impl<T> fmt::Debug for ThrottleLayer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottleLayer")
            .field("rule", &self.rule)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
