//! What a balancer reads from requests and their answers.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use crate::{
    classify::Outcome, endpoint::Endpoint, in_flight::InFlight, parts::Parts, repeatable::Repeatable,
    sent_to::SentTo, tried::Tried,
};

/// How a balancer reads requests of type `Req` and answers of type `Res`.
pub trait Protocol<Req, Res>: Clone + Send + Sync + 'static {
    /// What the caller gets: `Res`, or something around it that keeps the [`InFlight`] to its end.
    type Response;

    /// Where the request has been, if a layer above keeps count.
    fn tried<'a>(&self, request: &'a Req) -> Option<&'a Tried> {
        let _ = request;
        None
    }

    /// The request's hash, for policies that keep a key on one endpoint.
    fn hash(&self, request: &Req) -> Option<u64> {
        let _ = request;
        None
    }

    /// The head of the request, for policies that choose by it.
    fn parts<'a>(&self, request: &'a Req) -> Option<Parts<'a>> {
        let _ = request;
        None
    }

    /// Whether the request may be used to find out if an ejected endpoint is well again. It should be one
    /// that can be repeated.
    fn may_probe(&self, request: &Req) -> bool {
        let _ = request;
        true
    }

    /// Notes that `request` goes to `endpoint`, for a layer above that wants to know.
    fn sent(&self, request: &Req, endpoint: &Endpoint) {
        let _ = (request, endpoint);
    }

    /// Records the outcome of an answer, at once or when it ends.
    fn respond(response: Res, call: InFlight) -> Self::Response;
}

/// Any request and answer: what is not an error is a success, and ends the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opaque;

impl<Req, Res> Protocol<Req, Res> for Opaque {
    type Response = Res;

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a call would cost half as much as what there is to do")]
    fn respond(response: Res, mut call: InFlight) -> Res {
        call.settle(Outcome::Success);
        response
    }
}

/// The hash of a request, put into its extensions by whoever wants it to stay with one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKey(pub u64);

/// HTTP and gRPC: statuses tell success from failure, gRPC's also in the trailers, and a request lasts to
/// the end of its answer's body. Reads [`Tried`] and [`HashKey`] from the extensions of requests, and
/// notes in a [`SentTo`] there where they go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Http;

impl<B, C: Body> Protocol<Request<B>, Response<C>> for Http {
    type Response = Response<CountedBody<C>>;

    fn tried<'a>(&self, request: &'a Request<B>) -> Option<&'a Tried> {
        request.extensions().get()
    }

    fn hash(&self, request: &Request<B>) -> Option<u64> {
        request.extensions().get::<HashKey>().map(|key| key.0)
    }

    fn parts<'a>(&self, request: &'a Request<B>) -> Option<Parts<'a>> {
        Some(Parts::of(request))
    }

    fn may_probe(&self, request: &Request<B>) -> bool {
        // A gRPC call is a POST; a retry layer above repeats it if the answer is UNAVAILABLE.
        Repeatable::is(request)
            || (request.method() == Method::POST && crate::classify::is_grpc(request.headers()))
    }

    #[inline]
    fn sent(&self, request: &Request<B>, endpoint: &Endpoint) {
        if let Some(sent_to) = request.extensions().get::<SentTo>() {
            sent_to.set(endpoint);
        }
    }

    fn respond(response: Response<C>, mut call: InFlight) -> Self::Response {
        call.load_report(response.headers());
        match Outcome::of_response(&response, SystemTime::now) {
            Some(outcome) => call.settle(outcome),
            None => call.answered(),
        }
        response.map(|inner| {
            let call = if inner.is_end_stream() { None } else { Some(call) };
            CountedBody { inner, call }
        })
    }
}

/// The body of an answer, which keeps its request in flight until it ends or is dropped.
#[pin_project]
#[derive(Debug, Default)]
pub struct CountedBody<B> {
    #[pin]
    inner: B,
    call: Option<InFlight>,
}

impl<B: Body> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        if let (Some(Ok(frame)), Some(call)) = (&frame, this.call.as_ref())
            && let Some(trailers) = frame.trailers_ref()
        {
            call.load_report(trailers);
        }
        match Outcome::of_frame(frame.as_ref(), this.inner.is_end_stream()) {
            Some(outcome) => {
                if let Some(mut call) = this.call.take() {
                    call.settle(outcome);
                }
            }
            None => this.call.iter_mut().for_each(InFlight::begins),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
