//! The future of an answer, and what is done to every answer on its way out.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Response};
use tonic::body::Body;

use super::access::Entry;
use super::cors::Cors;
use super::observe::{Observed, watched};
use super::stats::Stats;
use crate::proxy::{Forward, REQUEST_ID};

/// Response of a [`Gateway`](super::Gateway). Dropping it cancels the request.
pub struct ResponseFuture {
    answer: Answer,
    finish: Option<Finish>,
}

/// Where an answer comes from.
pub(super) enum Answer {
    /// From the gateway itself. In a box, as all are, for whoever serves the gateway moves its futures half a dozen times.
    Own(Option<Box<Response<Body>>>),
    /// From a service that was known.
    Forward(Pin<Box<Forward>>),
    /// From whatever takes longer ways.
    Boxed(BoxFuture<'static, Response<Body>>),
}

/// What is done to an answer.
pub(super) struct Finish {
    pub(super) id: HeaderValue,
    pub(super) page: Option<Box<(Cors, Option<HeaderValue>)>>,
    pub(super) entry: Option<Box<Entry>>,
    pub(super) observed: Option<Box<dyn Observed>>,
    pub(super) stats: Stats,
}

impl Answer {
    pub(super) fn own(response: Response<Body>) -> Self {
        Self::Own(Some(Box::new(response)))
    }

    /// Waits for the answer.
    pub(super) async fn into_response(self) -> Response<Body> {
        match self {
            Self::Own(Some(response)) => *response,
            // It is made with one.
            Self::Own(None) => Response::new(Body::empty()),
            Self::Forward(forward) => forward.await,
            Self::Boxed(answer) => answer.await,
        }
    }
}

impl ResponseFuture {
    pub(super) fn new(answer: Answer, finish: Finish) -> Self {
        Self { answer, finish: Some(finish) }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut response = match &mut this.answer {
            Answer::Own(response) => match response.take() {
                Some(response) => *response,
                None => return Poll::Pending,
            },
            Answer::Forward(forward) => ready!(forward.poll_unpin(cx)),
            Answer::Boxed(answer) => ready!(answer.poll_unpin(cx)),
        };
        if let Some(finish) = this.finish.take() {
            finish.apply(&mut response);
        }
        Poll::Ready(Ok(response))
    }
}

impl Finish {
    fn apply(self, response: &mut Response<Body>) {
        self.stats.count(response.status());
        let headers = response.headers_mut();
        headers.entry(REQUEST_ID).or_insert(self.id);
        if let Some(page) = self.page {
            let (cors, origin) = *page;
            cors.admit(headers, origin);
        }
        if let Some(entry) = self.entry {
            entry.answered(response);
        }
        if let Some(observed) = self.observed {
            watched(response, observed);
        }
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}
