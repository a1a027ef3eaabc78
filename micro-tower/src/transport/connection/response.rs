//! A request on its way over one of the connections.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use tower::BoxError;

use super::peer::{Attempt, Peer};
use crate::transport::{body::Body, http1, http2, request::RequestBody};

/// Response of a [`Connection`](super::Connection). The request is on its way when this exists; dropping it cancels the request.
pub struct ResponseFuture<B: RequestBody = tonic::body::Body>(pub(super) State<B>);

pub(super) enum State<B: RequestBody> {
    Http2(http2::InFlight),
    Http1(BoxFuture<'static, Result<Response<http1::Incoming>, BoxError>>),
    GoMicro(BoxFuture<'static, Result<Response<Body>, BoxError>>),
    More(Box<More<B>>),
    Turn(Box<Turn<B>>),
    Failed(Option<BoxError>),
}

/// A request that waits for one more connection.
pub(super) struct More<B: RequestBody> {
    pub(super) endpoint: Arc<Peer<B>>,
    pub(super) attempt: Attempt,
    pub(super) request: Option<Request<B>>,
}

/// A request that waits for others to leave it a stream.
pub(super) struct Turn<B: RequestBody> {
    pub(super) endpoint: Arc<Peer<B>>,
    pub(super) turn: BoxFuture<'static, ()>,
    pub(super) request: Option<Request<B>>,
}

impl<B: RequestBody> ResponseFuture<B> {
    pub(super) fn sent(sent: Result<http2::InFlight, BoxError>) -> Self {
        Self(match sent {
            Ok(in_flight) => State::Http2(in_flight),
            Err(error) => State::Failed(Some(error)),
        })
    }
}

impl<B: RequestBody> Future for ResponseFuture<B> {
    type Output = Result<Response<Body>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut self.0 {
                State::Http2(in_flight) => {
                    let response = ready!(in_flight.poll(cx));
                    return Poll::Ready(response.map(|response| response.map(Body::http2)));
                }
                State::Http1(response) => {
                    let response = ready!(response.as_mut().poll(cx));
                    return Poll::Ready(response.map(|response| response.map(Body::http1)));
                }
                State::GoMicro(response) => return response.as_mut().poll(cx),
                State::More(more) => {
                    // Where no more can be had, the request waits on a connection there is.
                    let _ = ready!(more.attempt.poll_unpin(cx));
                    let Some(request) = more.request.take() else { return Poll::Pending };
                    let next = more.endpoint.send(request);
                    *self = next;
                }
                State::Turn(turn) => {
                    ready!(turn.turn.poll_unpin(cx));
                    let Some(request) = turn.request.take() else { return Poll::Pending };
                    let next = turn.endpoint.send(request);
                    *self = next;
                }
                State::Failed(error) => {
                    let Some(error) = error.take() else { return Poll::Pending };
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

impl<B: RequestBody> fmt::Debug for ResponseFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}
