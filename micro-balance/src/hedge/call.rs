//! What is remembered of a request between its attempts, and what an answer is to the race.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;
use tower::BoxError;
use tower_service::Service;

use super::layer::Config;
use crate::{
    classify::{Outcome, Pushback, grpc_status},
    retry::{Head, Kind, Replay, ReplayBody, Verdict},
    tried::Tried,
};

/// One request over all its attempts.
pub(super) struct Call<S, B> {
    pub(super) config: Arc<Config>,
    pub(super) began: Instant,
    kind: Kind,
    /// How to send it again; `None` for what is not hedged.
    pub(super) plan: Option<Plan<S, B>>,
    /// Hedges the budget has paid for, and whether the last was not sent yet.
    paid: u32,
    owed: bool,
}

/// All that is needed to send a request again.
pub(super) struct Plan<S, B> {
    pub(super) service: S,
    pub(super) head: Head,
    pub(super) tried: Tried,
    pub(super) replay: Replay<B>,
    pub(super) delay: Duration,
}

impl<S, B> Call<S, B> {
    pub(super) fn new(config: Arc<Config>, began: Instant, kind: Kind, plan: Option<Plan<S, B>>) -> Self {
        config.budget.deposit_at(began);
        Self { config, began, kind, plan, paid: 0, owed: false }
    }

    /// What the answer of one attempt is to the race.
    pub(super) fn verdict<R>(&self, answer: &Result<Response<R>, BoxError>) -> Verdict {
        match (answer, &self.config.non_fatal) {
            (Ok(response), Some(when)) => when.response(self.kind, response),
            (Err(error), Some(when)) => when.error(self.kind, error),
            (Ok(response), None) => usual(response),
            (Err(_), None) => Verdict::Retry(None),
        }
    }

    /// Pays for a hedge, if there is one left and the budget has it.
    pub(super) fn pay(&mut self) -> bool {
        self.owed = self.paid + 1 < self.config.attempts && self.config.budget.withdraw_ahead();
        self.paid += u32::from(self.owed);
        self.owed
    }

    /// Sends the request again, and says how long to wait for the next time; `None` when that is impossible.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Option<(S::Future, Option<Duration>)>>
    where
        S: Service<Request<ReplayBody<B>>>,
        B: Body<Data = Bytes> + Unpin,
    {
        let Some(plan) = &mut self.plan else { return Poll::Ready(None) };
        if ready!(plan.service.poll_ready(cx)).is_err() {
            self.refund();
            return Poll::Ready(None);
        }
        let elapsed = self.began.elapsed();
        let in_time = plan.head.timeout().is_none_or(|timeout| elapsed < timeout);
        let Some(body) = plan.replay.beside().filter(|_| in_time) else {
            self.refund();
            return Poll::Ready(None);
        };
        tracing::debug!(attempt = self.paid + 1, "hedging");
        let hedge = plan.service.call(plan.head.request(body, &plan.tried, elapsed, self.paid));
        self.owed = false;
        let more = self.paid + 1 < self.config.attempts;
        Poll::Ready(Some((hedge, more.then_some(plan.delay))))
    }

    pub(super) fn refund(&mut self) {
        if std::mem::take(&mut self.owed) {
            self.config.budget.refund();
            self.paid -= 1;
        }
    }

    /// Notes how long the answer took; no attempt comes any more.
    pub(super) fn answered(&mut self) {
        self.config.record(self.began.elapsed());
        self.plan = None;
    }

    /// Notes how long there was no answer, if that is longer than usual; no attempt comes any more.
    ///
    /// What fails fast tells nothing of how long answers take. What was waited for in vain does: else the delay stays as
    /// it was where everything has become too slow to be waited for.
    pub(super) fn in_vain(&mut self) {
        let Some(plan) = self.plan.take() else { return };
        let waited = self.began.elapsed();
        if waited >= plan.delay {
            self.config.record(waited);
        }
    }
}

impl<S, B> Drop for Call<S, B> {
    fn drop(&mut self) {
        self.refund();
        self.in_vain();
        self.config.budget.close(self.paid);
    }
}

/// What an answer is where nobody says which failures are fatal: none that is the endpoint's own.
fn usual<R>(response: &Response<R>) -> Verdict {
    match Outcome::of_response(response, SystemTime::now) {
        Some(Outcome::Failure { .. }) => match Pushback::of(response.headers()) {
            Some(Pushback::Never) => Verdict::Refused,
            Some(Pushback::After(wait)) => Verdict::Retry(Some(wait)),
            None => Verdict::Retry(None),
        },
        // What the caller asked for cannot be had: no failure of the endpoint, and no success either.
        _ if grpc_status(response.headers()).is_some_and(|code| code != 0) => Verdict::Failure,
        _ => Verdict::Success,
    }
}
