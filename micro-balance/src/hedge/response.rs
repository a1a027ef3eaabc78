//! The race between the attempts of one request.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tower::BoxError;
use tower_service::Service;

use super::layer::Config;
use crate::{
    classify::{Outcome, Pushback},
    retry::{Head, Replay, ReplayBody},
    saturating::end,
    tried::Tried,
};

/// Response of [`Hedge`](super::Hedge).
#[pin_project(project = Race)]
pub struct ResponseFuture<S, F, B, R> {
    /// `None` once it is over.
    #[pin]
    first: Option<F>,
    hedges: Vec<Pin<Box<F>>>,
    #[pin]
    next: Next,
    /// The failure to answer with if no attempt does better.
    failure: Option<Result<Response<R>, BoxError>>,
    call: Call<S, B>,
}

/// What stands between now and the next hedge.
#[pin_project(project = NextNow)]
enum Next {
    /// The first attempt has not kept us waiting yet.
    Start(Duration),
    Waiting(#[pin] Sleep),
    /// Paid for, and the service is made ready.
    Readying,
    /// There will be none.
    Never,
}

impl<S, F, B, R> ResponseFuture<S, F, B, R> {
    pub(super) fn new(first: F, delay: Option<Duration>, call: Call<S, B>) -> Self {
        let next = delay.map_or(Next::Never, Next::Start);
        Self { first: Some(first), hedges: Vec::new(), next, failure: None, call }
    }
}

impl<S, F, B, R> Future for ResponseFuture<S, F, B, R>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<Response<R>, S::Error>>,
    B: Body<Data = Bytes> + Unpin,
{
    type Output = Result<Response<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(Poll::Ready(answer)) = this.first.as_mut().as_pin_mut().map(|first| first.poll(cx)) {
            this.first.set(None);
            if let Some(best) = this.judge(answer.map_err(Into::into)) {
                return Poll::Ready(best);
            }
        }
        loop {
            let mut n = 0;
            while let Some(hedge) = this.hedges.get_mut(n) {
                match hedge.as_mut().poll(cx) {
                    Poll::Pending => n += 1,
                    Poll::Ready(answer) => {
                        drop(this.hedges.swap_remove(n));
                        if let Some(best) = this.judge(answer.map_err(Into::into)) {
                            return Poll::Ready(best);
                        }
                    }
                }
            }
            if this.first.is_none() && this.hedges.is_empty() {
                // Nobody is left in the race: starting another attempt now is a retry, not a hedge.
                this.next.set(Next::Never);
                this.call.plan = None;
                return Poll::Ready(this.failure.take().expect("no future is polled after it was ready"));
            }
            // A hedge that starts is polled in the next turn.
            let hedge = ready!(this.poll_next(cx));
            this.hedges.push(hedge);
        }
    }
}

impl<S, F, B, R> Race<'_, S, F, B, R> {
    /// The answer if it decides the race; a failure is kept, for want of better.
    fn judge(&mut self, answer: Result<Response<R>, BoxError>) -> Option<Result<Response<R>, BoxError>> {
        if let Ok(response) = &answer {
            match Outcome::of_response(response, SystemTime::now) {
                Some(Outcome::Failure { .. }) => match Pushback::of(response.headers()) {
                    Some(Pushback::Never) => self.put_off(Next::Never),
                    Some(Pushback::After(wait)) => self.put_off(Next::Waiting(sleep(wait))),
                    None => {}
                },
                Some(Outcome::Success) | None => {
                    self.call.config.budget.succeeded();
                    self.call.config.record(self.call.began.elapsed());
                    self.first.set(None);
                    self.hedges.clear();
                    self.next.set(Next::Never);
                    self.call.plan = None;
                    return Some(answer);
                }
            }
        }
        self.call.config.budget.failed();
        *self.failure = Some(answer);
        None
    }

    /// Waits for `next` instead, on the server's word: a hedge that is paid for and was not sent is given back.
    fn put_off(&mut self, next: Next) {
        self.call.refund();
        self.next.set(next);
    }

    /// Waits for the time to hedge and starts one; pending for ever when there is none to come.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Pin<Box<F>>>
    where
        S: Service<Request<ReplayBody<B>>, Response = Response<R>, Future = F>,
        B: Body<Data = Bytes> + Unpin,
    {
        loop {
            let next = match self.next.as_mut().project() {
                NextNow::Never => return Poll::Pending,
                NextNow::Start(delay) => Next::Waiting(sleep_until(end(self.call.began, *delay))),
                NextNow::Waiting(sleep) => {
                    ready!(sleep.poll(cx));
                    if self.call.pay() { Next::Readying } else { Next::Never }
                }
                NextNow::Readying => match ready!(self.call.poll_send(cx)) {
                    Some((hedge, wait)) => {
                        self.next.set(wait.map_or(Next::Never, |wait| Next::Waiting(sleep(wait))));
                        return Poll::Ready(Box::pin(hedge));
                    }
                    None => Next::Never,
                },
            };
            self.next.set(next);
        }
    }
}

/// One request over all its attempts.
pub(super) struct Call<S, B> {
    config: Arc<Config>,
    began: Instant,
    /// How to send it again; `None` for what is not hedged.
    plan: Option<Plan<S, B>>,
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
    pub(super) fn new(config: Arc<Config>, began: Instant, plan: Option<Plan<S, B>>) -> Self {
        Self { config, began, plan, paid: 0, owed: false }
    }

    fn pay(&mut self) -> bool {
        self.owed = self.paid + 1 < self.config.attempts && self.config.budget.withdraw();
        self.paid += u32::from(self.owed);
        self.owed
    }

    /// Sends the request again, and says how long to wait for the next time; `None` when that is impossible.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Option<(S::Future, Option<Duration>)>>
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

    fn refund(&mut self) {
        if std::mem::take(&mut self.owed) {
            self.config.budget.refund();
            self.paid -= 1;
        }
    }
}

impl<S, B> Drop for Call<S, B> {
    fn drop(&mut self) {
        self.refund();
        self.config.budget.close(self.paid);
    }
}

impl<S, F, B, R> fmt::Debug for ResponseFuture<S, F, B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("hedges", &self.hedges.len()).finish_non_exhaustive()
    }
}
