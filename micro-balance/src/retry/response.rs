//! The future of a response over all its attempts.

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
use tokio::time::{Sleep, sleep};
use tower::BoxError;
use tower_service::Service;

use super::{
    call::Call,
    held::{Held, Progress},
    peek::{PeekBody, Polled},
    replay::ReplayBody,
    when::{Kind, Verdict, When},
};

/// Response of [`Retry`](super::Retry).
///
/// Dropped at any moment it leaves the budget as if the attempt that was about to be sent had never been
/// thought of.
#[pin_project(project = ResponseFutureProjection)]
pub struct ResponseFuture<S, F, B, R: Body> {
    #[pin]
    state: State<F, R>,
    call: Call<S, B>,
}

#[pin_project(project = Now)]
enum State<F, R: Body> {
    /// An attempt is under way.
    Calling(#[pin] F),
    /// Its response is here, and its first frame decides. The sleep starts if that keeps us waiting.
    Looking(Option<Response<R>>, #[pin] Option<Sleep>),
    /// Its response is here, and is kept until it is whole.
    Keeping(Box<Held<R>>),
    /// The wait before the next attempt.
    Waiting(#[pin] Sleep),
    /// The service is made ready for the next attempt.
    Readying,
}

impl<S, F, B, R: Body> ResponseFuture<S, F, B, R> {
    pub(super) fn new(attempt: F, call: Call<S, B>) -> Self {
        Self { state: State::Calling(attempt), call }
    }
}

impl<S, F, B, R> Future for ResponseFuture<S, F, B, R>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<Response<R>, S::Error>>,
    B: Body<Data = Bytes> + Unpin,
    R: Body + Unpin,
{
    type Output = Result<Response<PeekBody<R>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ResponseFutureProjection { mut state, call } = self.project();
        loop {
            let wait = match state.as_mut().project() {
                Now::Calling(attempt) => match ready!(attempt.poll(cx)) {
                    Ok(response) => match call.config().when.response(call.kind(), &response) {
                        Verdict::Look => {
                            state.set(State::Looking(Some(response), None));
                            continue;
                        }
                        Verdict::Success if call.keeps(&response) => match Held::at_once(response, cx) {
                            Ok(whole) => {
                                call.again(Verdict::Success);
                                return Poll::Ready(Ok(whole));
                            }
                            Err(held) => {
                                state.set(State::Keeping(held));
                                continue;
                            }
                        },
                        verdict => match call.again(verdict) {
                            Some(wait) => wait,
                            None => return Poll::Ready(Ok(response.map(PeekBody::untouched))),
                        },
                    },
                    Err(error) => {
                        let error: BoxError = error.into();
                        let verdict = call.config().when.error(call.kind(), &error);
                        match call.again(verdict) {
                            Some(wait) => wait,
                            None => return Poll::Ready(Err(error)),
                        }
                    }
                },
                Now::Looking(response, patience) => {
                    let body = response.as_mut().expect("no future is polled after it was ready").body_mut();
                    let first = match Pin::new(body).poll_frame(cx) {
                        Poll::Ready(first) => Some(first),
                        Poll::Pending => {
                            ready!(poll_wait(patience, call.patience(), cx));
                            None
                        }
                    };
                    match call.again(
                        first.as_ref().map_or(Verdict::Success, |first| {
                            judge::<R>(call.kind(), call.config().when, first)
                        }),
                    ) {
                        Some(wait) => wait,
                        None => {
                            let response = response.take().expect("it was there a moment ago");
                            return Poll::Ready(Ok(response.map(|body| match first {
                                Some(first) => PeekBody::put_back(first, body),
                                None => PeekBody::untouched(body),
                            })));
                        }
                    }
                }
                Now::Keeping(held) => {
                    let verdict = match ready!(held.poll(call.keeps_for(), cx)) {
                        Progress::Whole => Verdict::Success,
                        Progress::Broken => Verdict::Retry(None),
                        Progress::Late => call.late(),
                    };
                    match call.again(verdict) {
                        Some(wait) => wait,
                        None => {
                            let response = held.take().expect("no future is polled after it was ready");
                            return Poll::Ready(Ok(response));
                        }
                    }
                }
                Now::Waiting(sleep) => {
                    ready!(sleep.poll(cx));
                    Duration::ZERO
                }
                Now::Readying => {
                    ready!(call.service().poll_ready(cx)).map_err(Into::into)?;
                    let request = call.request()?;
                    let attempt = call.send(request);
                    state.set(State::Calling(attempt));
                    continue;
                }
            };
            // What failed is let go before the wait: a stream kept open would count as load.
            state.set(if wait.is_zero() { State::Readying } else { State::Waiting(sleep(wait)) });
        }
    }
}

/// What the first frame of a gRPC response's body says.
fn judge<R: Body>(request: Kind, when: When, first: &Polled<R>) -> Verdict {
    match first {
        Some(Ok(frame)) => match frame.trailers_ref() {
            Some(trailers) => when.trailers(trailers),
            // A message: the caller will see it, so there is no way back.
            None => Verdict::Success,
        },
        Some(Err(_)) if request.repeatable => Verdict::Retry(None),
        Some(Err(_)) | None => Verdict::Failure,
    }
}

/// Waits for `wait` from the first poll on; without a timer if that is no time at all.
fn poll_wait(mut waiting: Pin<&mut Option<Sleep>>, wait: Duration, cx: &mut Context<'_>) -> Poll<()> {
    if wait.is_zero() {
        return Poll::Ready(());
    }
    if waiting.is_none() {
        waiting.set(Some(sleep(wait)));
    }
    waiting.as_pin_mut().map_or(Poll::Ready(()), |sleep| sleep.poll(cx))
}

impl<S, F, B, R: Body> fmt::Debug for ResponseFuture<S, F, B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
