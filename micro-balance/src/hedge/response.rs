//! The race between the attempts of one request.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tokio::time::{Sleep, sleep, sleep_until};
use tower::BoxError;
use tower_service::Service;

use super::call::Call;
use crate::{
    retry::{ReplayBody, Verdict},
    saturating::end,
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
            let over = !this.is_racing();
            if over && this.is_last() {
                this.end();
                return Poll::Ready(this.failure.take().expect("no future is polled after it was ready"));
            }
            match ready!(this.poll_next(cx)) {
                // A hedge that starts is polled in the next turn.
                Some(hedge) => this.hedges.push(hedge),
                None if over => {}
                None => return Poll::Pending,
            }
        }
    }
}

impl<S, F, B, R> Race<'_, S, F, B, R> {
    /// The answer if it decides the race; a failure is kept, for want of better.
    fn judge(&mut self, answer: Result<Response<R>, BoxError>) -> Option<Result<Response<R>, BoxError>> {
        let verdict = self.call.verdict(&answer);
        let config = &self.call.config;
        match verdict {
            Verdict::Retry(_) | Verdict::Refused | Verdict::Fatal => config.budget.failed(),
            Verdict::Success | Verdict::Look => config.budget.succeeded(),
            Verdict::Failure | Verdict::Unsent | Verdict::Unread => {}
        }
        match verdict {
            // The next attempt has its own time.
            Verdict::Retry(None) if config.non_fatal.is_none() => {}
            Verdict::Retry(wait) => self.next_after(wait.unwrap_or_default()),
            Verdict::Refused => self.stop(),
            // Nobody has looked at it: another endpoint may.
            Verdict::Unsent | Verdict::Unread => self.next_after(Duration::ZERO),
            // What is turned away on this side says nothing of those that are under way.
            Verdict::Failure if answer.is_err() && self.is_racing() => {}
            _ => {
                if verdict != Verdict::Fatal {
                    self.call.answered();
                }
                self.end();
                return Some(answer);
            }
        }
        *self.failure = Some(answer);
        None
    }

    /// Starts the next attempt after `wait` instead, if there is to be one.
    fn next_after(&mut self, wait: Duration) {
        if self.has_next() {
            self.call.refund();
            let next = self.after(wait);
            self.next.set(next);
        }
    }

    /// What comes where a hedge is due after `wait`; no timer is quick enough for none.
    fn after(&mut self, wait: Duration) -> Next {
        if wait.is_zero() { self.due() } else { Next::Waiting(sleep(wait)) }
    }

    /// What comes when it is time for a hedge.
    fn due(&mut self) -> Next {
        if self.call.pay() { Next::Readying } else { Next::Never }
    }

    /// Starts no further attempt: a hedge that is paid for and was not sent is given back.
    fn stop(&mut self) {
        self.call.refund();
        self.next.set(Next::Never);
    }

    /// Drops all attempts.
    fn end(&mut self) {
        self.first.set(None);
        self.hedges.clear();
        self.next.set(Next::Never);
        self.call.in_vain();
    }

    fn is_racing(&self) -> bool {
        self.first.is_some() || !self.hedges.is_empty()
    }

    fn has_next(&mut self) -> bool {
        !matches!(self.next.as_mut().project(), NextNow::Never)
    }

    /// Whether a failure that leaves nobody in the race is the answer: another attempt would be a retry, not a
    /// hedge, unless failures are what hedges are sent for.
    fn is_last(&mut self) -> bool {
        self.call.config.non_fatal.is_none() || self.call.plan.is_none() || !self.has_next()
    }

    /// Waits for the time to hedge and starts one; `None` when there is none to come.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Pin<Box<F>>>>
    where
        S: Service<Request<ReplayBody<B>>, Response = Response<R>, Future = F>,
        B: Body<Data = Bytes> + Unpin,
    {
        loop {
            let next = match self.next.as_mut().project() {
                NextNow::Never => return Poll::Ready(None),
                NextNow::Start(delay) if delay.is_zero() => self.due(),
                NextNow::Start(delay) => Next::Waiting(sleep_until(end(self.call.began, *delay))),
                NextNow::Waiting(sleep) => {
                    ready!(sleep.poll(cx));
                    self.due()
                }
                NextNow::Readying => match ready!(self.call.poll_send(cx)) {
                    Some((hedge, wait)) => {
                        let next = wait.map_or(Next::Never, |wait| self.after(wait));
                        self.next.set(next);
                        return Poll::Ready(Some(Box::pin(hedge)));
                    }
                    None => Next::Never,
                },
            };
            self.next.set(next);
        }
    }
}

impl<S, F, B, R> fmt::Debug for ResponseFuture<S, F, B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("hedges", &self.hedges.len()).finish_non_exhaustive()
    }
}
