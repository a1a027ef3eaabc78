//! A tonic [`Channel`] as the service of an endpoint, for those who have one configured.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use tonic::{body::Body, transport::Channel};
use tower::BoxError;
use tower_service::Service;

use crate::error::{Error, Phase};

/// A [`Channel`] that says of a failed request whether it was sent.
///
/// The channel keeps its own queue and its own reconnecting, so it is always ready and gives no request back:
/// a [`Connection`](super::Connection) costs less and loses less.
#[derive(Clone, Debug)]
pub struct ChannelEndpoint(Channel);

impl ChannelEndpoint {
    /// Puts `channel` behind the errors of this crate.
    pub fn new(channel: Channel) -> Self {
        Self(channel)
    }
}

impl Service<Request<Body>> for ChannelEndpoint {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = ChannelFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(classified)
    }

    fn call(&mut self, request: Request<Body>) -> ChannelFuture {
        ChannelFuture(self.0.call(request))
    }
}

/// Response of [`ChannelEndpoint`].
#[derive(Debug)]
pub struct ChannelFuture(tonic::transport::channel::ResponseFuture);

impl Future for ChannelFuture {
    type Output = Result<Response<Body>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(cx)).map_err(classified))
    }
}

/// tonic's error for what failed while connecting is told by what lies below it.
fn classified(error: tonic::transport::Error) -> BoxError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        let connecting = error.is::<tonic::ConnectError>();
        let canceled = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled);
        if connecting || canceled {
            break;
        }
        cause = error.source();
    }
    let not_sent = cause.is_some();
    if not_sent {
        Error::not_sent(Phase::Connect, error).into()
    } else {
        Error::new(Phase::Wait, error).into()
    }
}
