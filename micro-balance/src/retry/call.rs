//! What is remembered of a request between its attempts, and the decision to make another.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header::CONTENT_LENGTH};
use http_body::Body;
use tokio::time::Instant;
use tower::BoxError;
use tower_service::Service;

use super::{
    backoff::Backoff,
    budget::Budget,
    figures::Figures,
    head::Head,
    replay::{Replay, ReplayBody},
    when::{Kind, Verdict, When},
};
use crate::{
    chance::Chance,
    saturating::scale,
    timeout::{Elapsed, Phase, TimeShare},
    tried::Tried,
};

/// How long a request that was not sent is tried again where its caller says no time: as long as one waits for an
/// endpoint, and an end to what can never work.
const UNSENT: Duration = Duration::from_secs(3);

/// The shortest wait before what was not sent is tried a third time, whatever the back-off says: no task spins.
const UNSENT_WAIT: Duration = Duration::from_millis(1);

/// How long a call that may be repeated, and was sent whole, waits for the first frame of its answer. It covers the
/// time in which the silent death of a peer is noticed where nothing resets a connection, as over a broker.
const HOLD: Duration = Duration::from_secs(3);

/// The settings of a retry layer.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) attempts: u32,
    pub(crate) keep: usize,
    pub(crate) look: Duration,
    pub(crate) whole: u64,
    pub(crate) whole_timeout: Option<Duration>,
    pub(crate) share_time: bool,
    pub(crate) when: When,
    pub(crate) budget: Budget,
    pub(crate) backoff: Backoff,
    pub(crate) retry_after_jitter: f64,
    pub(crate) chance: Arc<Chance>,
    pub(crate) figures: Option<Figures>,
    pub(crate) deadline: fn() -> Option<Instant>,
}

/// One request over all its attempts.
#[derive(Debug)]
pub(crate) struct Call<S, B> {
    service: S,
    config: Arc<Config>,
    kind: Kind,
    head: Head,
    replay: Replay<B>,
    tried: Tried,
    began: Instant,
    /// Attempts that count, with the present one.
    attempts: u32,
    /// Attempts of which nothing was sent, and when the first of them failed.
    unsent: u32,
    unsent_since: Option<Instant>,
    /// Whether a server has turned the request away unread.
    unread: bool,
    /// Waits by our own measure since the server last named one.
    waits: u32,
    /// The last of them.
    waited: Duration,
    /// Whether the budget has paid for a retry, and whether that was not sent yet.
    paid: bool,
    owed: bool,
}

impl<S, B> Call<S, B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// Splits a request into what is remembered and what is sent first.
    pub(crate) fn begin(
        service: S,
        config: Arc<Config>,
        request: Request<B>,
    ) -> (Self, Request<ReplayBody<B>>) {
        let began = Instant::now();
        let kind = Kind::of(&request);
        let (mut parts, body) = request.into_parts();
        let head = Head::of(&parts, kind.grpc);
        let tried = parts.extensions.get_or_insert_default::<Tried>().clone();
        let replay = Replay::new(body, config.keep);
        let mut first = Request::from_parts(parts, replay.first());
        // After what may panic in a body: whoever is noted is seen off.
        config.budget.deposit_at(began);
        let call = Self {
            service,
            config,
            kind,
            head,
            replay,
            tried,
            began,
            attempts: 1,
            unsent: 0,
            unsent_since: None,
            unread: false,
            waits: 0,
            waited: Duration::ZERO,
            paid: false,
            owed: false,
        };
        call.share(&mut first);
        (call, first)
    }

    /// Gives an attempt its share of the time, if there is an end to it and another may follow.
    fn share(&self, attempt: &mut Request<ReplayBody<B>>) {
        if !self.config.share_time {
            return;
        }
        let left = self.config.attempts.saturating_sub(self.attempts()) + 1;
        // What is not sent again when its time is over has all of the time.
        if left == 1 || !self.kind.repeatable || !self.replay.is_whole() {
            return;
        }
        if let Some(time) = self.left(Instant::now()) {
            attempt.extensions_mut().insert(TimeShare::of(time, left));
        }
    }

    /// The service of the next attempt, which has to be made ready.
    pub(crate) fn service(&mut self) -> &mut S {
        &mut self.service
    }

    pub(crate) fn send(&mut self, request: Request<ReplayBody<B>>) -> S::Future
    where
        S: Service<Request<ReplayBody<B>>>,
    {
        self.owed = false;
        self.service.call(request)
    }

    /// The request as it was, with what has changed since.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] when the caller's time has passed meanwhile.
    pub(crate) fn request(&self) -> Result<Request<ReplayBody<B>>, BoxError> {
        let elapsed = self.began.elapsed();
        match self.head.timeout() {
            Some(timeout) if elapsed >= timeout => Err(Elapsed::new(Phase::Call, timeout).into()),
            _ => {
                let body = self.replay.next();
                let mut attempt = self.head.request(body, &self.tried, elapsed, self.attempts() - 1);
                self.share(&mut attempt);
                Ok(attempt)
            }
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// How long the head of an answer is held back until its first frame tells more.
    ///
    /// Once the head is handed on, there is no way back. A caller who may repeat the call, and has said all there
    /// is to say, loses nothing by waiting.
    pub(crate) fn patience(&self) -> Duration {
        let look = self.config.look;
        let may_hold = !look.is_zero() && self.kind.repeatable && self.replay.is_spent();
        if may_hold { look.max(HOLD) } else { look }
    }

    /// Whether an answer is kept until it is whole: one that says that it is short, to a call that may be repeated and
    /// has an attempt left.
    pub(crate) fn keeps<R>(&self, response: &Response<R>) -> bool {
        let length = || response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok();
        let may = self.kind.repeatable && !self.kind.grpc && self.attempts < self.config.attempts;
        may && self.replay.is_whole()
            && length().is_some_and(|length| (1..=self.config.whole).contains(&length))
    }

    /// For how long.
    pub(crate) fn keeps_for(&self) -> Duration {
        self.config.whole_timeout.unwrap_or(HOLD)
    }

    /// What an answer is that is still not whole then: nothing, if attempts have a limit; or as good as it gets.
    pub(crate) fn late(&self) -> Verdict {
        if self.config.whole_timeout.is_some() { Verdict::Retry(None) } else { Verdict::Success }
    }

    /// How long to wait for another attempt, or `None` if there is none. What it costs is paid then.
    pub(crate) fn again(&mut self, verdict: Verdict) -> Option<Duration> {
        let config = &*self.config;
        let asked = match verdict {
            Verdict::Success | Verdict::Look => {
                config.budget.succeeded();
                return None;
            }
            Verdict::Failure => return None,
            Verdict::Refused | Verdict::Fatal => {
                config.budget.failed();
                return None;
            }
            Verdict::Unsent => return self.again_unsent(),
            Verdict::Unread if !self.unread => return self.again_unread(),
            // Turned away again it is a failure as any other, but for what it does: nobody has done it.
            Verdict::Unread => None,
            Verdict::Retry(asked) => asked,
        };
        let random = config.chance.fraction();
        let wait = match asked {
            Some(wait) if self.kind.grpc => wait,
            Some(wait) => scale(wait, 1.0 + config.retry_after_jitter * random),
            None => config.backoff.wait_after(self.waited, self.waits, random),
        };
        let possible = self.attempts() < config.attempts && self.in_time(wait) && self.replay.is_whole();
        if !possible {
            config.budget.failed();
            return None;
        }
        // The retry before has ended, and this one takes its place.
        let afforded = if self.paid { config.budget.withdraw_next() } else { config.budget.withdraw() };
        if !afforded {
            if let Some(figures) = &config.figures {
                figures.refused(&config.budget);
            }
            tracing::debug!(attempts = self.attempts, "not retrying: the budget is spent");
            return None;
        }
        if let Some(figures) = &config.figures {
            figures.retried(&config.budget);
        }
        self.paid = true;
        self.owed = true;
        self.attempts += 1;
        self.waits = if asked.is_some() { 0 } else { self.waits + 1 };
        self.waited = wait;
        tracing::debug!(attempt = self.attempts, ?wait, "retrying");
        Some(wait)
    }

    /// What never left costs nobody anything but the caller: it is sent as often as there is time,
    /// <https://github.com/grpc/proposal/blob/master/A6-client-retries.md#transparent-retries>.
    fn again_unsent(&mut self) -> Option<Duration> {
        // The first time at once, since another endpoint may well take it.
        let wait = match self.unsent.checked_sub(1) {
            Some(retry) => self.config.backoff.wait(retry, self.config.chance.fraction()).max(UNSENT_WAIT),
            None => Duration::ZERO,
        };
        let now = Instant::now();
        let since = *self.unsent_since.get_or_insert(now);
        let left = self.left(now).unwrap_or_else(|| UNSENT.saturating_sub(now - since));
        if wait >= left || !self.replay.is_whole_or_untouched() {
            return None;
        }
        self.unsent += 1;
        self.sent_again();
        tracing::debug!(times = self.unsent, ?wait, "nothing was sent: sending again");
        Some(wait)
    }

    /// What a server turned away without a look is sent again at once, but once: it was on the network.
    fn again_unread(&mut self) -> Option<Duration> {
        if !self.in_time(Duration::ZERO) || !self.replay.is_whole_or_untouched() {
            return None;
        }
        self.unread = true;
        self.sent_again();
        tracing::debug!("turned away unread: sending again");
        Some(Duration::ZERO)
    }

    fn sent_again(&self) {
        if let Some(figures) = &self.config.figures {
            figures.sent_again();
        }
    }

    /// The attempts with those before the call came here: where all who pass it on send it again, they would multiply.
    fn attempts(&self) -> u32 {
        self.attempts.saturating_add(self.head.previous_attempts())
    }

    /// Whether an attempt after `wait` still has time.
    fn in_time(&self, wait: Duration) -> bool {
        self.left(Instant::now()).is_none_or(|left| wait < left)
    }

    /// How much time is left from `now` on, if there is an end to it.
    fn left(&self, now: Instant) -> Option<Duration> {
        let own = self.head.timeout().map(|timeout| timeout.saturating_sub(now - self.began));
        let set = (self.config.deadline)().map(|deadline| deadline.saturating_duration_since(now));
        own.into_iter().chain(set).min()
    }
}

impl<S, B> Drop for Call<S, B> {
    fn drop(&mut self) {
        if self.owed {
            self.config.budget.refund();
            self.paid = false;
        }
        self.config.budget.close(self.paid.into());
    }
}
