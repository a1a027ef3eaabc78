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
    /// Its response is here, and its first frame decides. The sleep starts if that keeps us waiting. In a box, as all of
    /// this is moved through each layer above.
    Looking(Option<Response<R>>, Option<Pin<Box<Sleep>>>),
    /// Its response is here, and is kept until it is whole.
    Keeping(Box<Held<R>>),
    /// The wait before the next attempt.
    Waiting(Pin<Box<Sleep>>),
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
            let step = match state.as_mut().project() {
                Now::Calling(attempt) => match ready!(attempt.poll(cx)) {
                    Ok(response) => answered(response, state.as_mut(), call, cx),
                    Err(error) => {
                        let error: BoxError = error.into();
                        let verdict = call.config().when.error(call.kind(), &error);
                        call.again(verdict).map_or(Step::Done(Err(error)), Step::Again)
                    }
                },
                Now::Looking(response, patience) => ready!(look(response, patience, call, cx)),
                Now::Keeping(held) => ready!(keep(held, call, cx)),
                Now::Waiting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    Step::Again(Duration::ZERO)
                }
                Now::Readying => {
                    ready!(call.service().poll_ready(cx)).map_err(Into::into)?;
                    let request = call.request()?;
                    let attempt = call.send(request);
                    state.set(State::Calling(attempt));
                    continue;
                }
            };
            match step {
                Step::Done(answer) => return Poll::Ready(answer),
                Step::Wait => {}
                // What failed is let go before the wait: a stream kept open would count as load.
                Step::Again(wait) if wait.is_zero() => state.set(State::Readying),
                Step::Again(wait) => state.set(State::Waiting(Box::pin(sleep(wait)))),
            }
        }
    }
}

/// What comes of an answer, or of a part of it.
enum Step<R: Body> {
    /// The caller gets this.
    Done(Result<Response<PeekBody<R>>, BoxError>),
    /// More of it has to come: the state says of what.
    Wait,
    /// Another attempt, after this wait.
    Again(Duration),
}

/// The head of an answer is here.
fn answered<S, F, B, R>(
    mut response: Response<R>,
    mut state: Pin<&mut State<F, R>>,
    call: &mut Call<S, B>,
    cx: &mut Context<'_>,
) -> Step<R>
where
    B: Body<Data = Bytes> + Unpin,
    R: Body + Unpin,
{
    match call.config().when.response(call.kind(), &response) {
        // Most often it came with the head.
        Verdict::Look => match Pin::new(response.body_mut()).poll_frame(cx) {
            Poll::Ready(first) => looked(response, Some(first), call),
            Poll::Pending => {
                state.set(State::Looking(Some(response), None));
                Step::Wait
            }
        },
        Verdict::Success if call.keeps(&response) => match Held::at_once(response, cx) {
            Ok(whole) => {
                call.again(Verdict::Success);
                Step::Done(Ok(whole))
            }
            Err(held) => {
                state.set(State::Keeping(held));
                Step::Wait
            }
        },
        verdict => match call.again(verdict) {
            Some(wait) => Step::Again(wait),
            None => Step::Done(Ok(response.map(PeekBody::untouched))),
        },
    }
}

/// Waits for the first frame of an answer, though not for ever.
fn look<S, B, R>(
    response: &mut Option<Response<R>>,
    patience: &mut Option<Pin<Box<Sleep>>>,
    call: &mut Call<S, B>,
    cx: &mut Context<'_>,
) -> Poll<Step<R>>
where
    B: Body<Data = Bytes> + Unpin,
    R: Body + Unpin,
{
    let body = response.as_mut().expect("no future is polled after it was ready").body_mut();
    let first = match Pin::new(body).poll_frame(cx) {
        Poll::Ready(first) => Some(first),
        Poll::Pending => {
            ready!(poll_wait(patience, call.patience(), cx));
            None
        }
    };
    let response = response.take().expect("it was there a moment ago");
    Poll::Ready(looked(response, first, call))
}

/// The first frame of an answer is here, or was waited for long enough.
fn looked<S, B, R>(response: Response<R>, first: Option<Polled<R>>, call: &mut Call<S, B>) -> Step<R>
where
    B: Body<Data = Bytes> + Unpin,
    R: Body + Unpin,
{
    let verdict = match &first {
        Some(first) => judge::<R>(call.kind(), &call.config().when, first),
        None => Verdict::Success,
    };
    match call.again(verdict) {
        Some(wait) => Step::Again(wait),
        None => Step::Done(Ok(response.map(|body| match first {
            Some(first) => PeekBody::put_back(first, body),
            None => PeekBody::untouched(body),
        }))),
    }
}

/// Waits for the whole of an answer.
fn keep<S, B, R>(held: &mut Held<R>, call: &mut Call<S, B>, cx: &mut Context<'_>) -> Poll<Step<R>>
where
    B: Body<Data = Bytes> + Unpin,
    R: Body + Unpin,
{
    let verdict = match ready!(held.poll(call.keeps_for(), cx)) {
        Progress::Whole => Verdict::Success,
        Progress::Broken => Verdict::Retry(None),
        Progress::Late => call.late(),
    };
    Poll::Ready(match call.again(verdict) {
        Some(wait) => Step::Again(wait),
        None => Step::Done(Ok(held.take().expect("no future is polled after it was ready"))),
    })
}

/// What the first frame of a gRPC response's body says.
fn judge<R: Body>(request: Kind, when: &When, first: &Polled<R>) -> Verdict {
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
fn poll_wait(waiting: &mut Option<Pin<Box<Sleep>>>, wait: Duration, cx: &mut Context<'_>) -> Poll<()> {
    if wait.is_zero() {
        return Poll::Ready(());
    }
    waiting.get_or_insert_with(|| Box::pin(sleep(wait))).as_mut().poll(cx)
}

impl<S, F, B, R: Body> fmt::Debug for ResponseFuture<S, F, B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
