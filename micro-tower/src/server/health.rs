//! Puts gRPC health checks in front of the served service, and makes it one that answers, for requests of any body.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as HttpBody;
use pin_project::pin_project;
use tokio::sync::watch;
use tonic::{body::Body, codegen::BoxFuture, transport::server::TcpConnectInfo};
use tonic_health::{pb::health_server::HealthServer, server::HealthReporter};
use tower::BoxError;
use tower_layer::Layer as _;
use tower_service::Service;

use super::{
    arrived::Arrived,
    checks::Checks,
    pace::{self, Pace, PacedBody},
};
use crate::{
    metadata::{Trailers, TrailersBody},
    status::{AnswerErrors, AnswerErrorsLayer, AnswerFuture},
};

const HEALTH: &str = "/grpc.health.v1.Health/";

/// The service of one connection.
#[derive(Clone)]
pub(super) struct Served<S> {
    /// Nobody is left without an answer because a layer of it fails.
    inner: AnswerErrors<S>,
    health: Option<HealthServer<Checks>>,
    peer: TcpConnectInfo,
    pace: Pace,
}

impl<S> Served<S> {
    /// Answers health checks from `health`, if given, until `closing` becomes true.
    pub(super) fn new(inner: S, health: Option<HealthReporter>, closing: watch::Receiver<bool>) -> Self {
        let health = health.map(|reporter| HealthServer::new(Checks::new(reporter, closing)));
        let peer = TcpConnectInfo { local_addr: None, remote_addr: None };
        let inner = AnswerErrorsLayer.layer(inner);
        Self { inner, health, peer, pace: Pace::new() }
    }

    /// The same for requests from `remote`.
    pub(super) fn on(mut self, local: Option<SocketAddr>, remote: SocketAddr) -> Self {
        self.peer = TcpConnectInfo { local_addr: local, remote_addr: Some(remote) };
        self
    }

    /// The same for one connection, and what its requests are doing.
    pub(super) fn paced(mut self) -> (Self, Pace) {
        self.pace = Pace::new();
        let pace = self.pace.clone();
        (self, pace)
    }
}

impl<S, B, C> Service<Request<C>> for Served<S>
where
    C: Arrived,
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = ServedFuture<AnswerFuture<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The health service is always ready.
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<C>) -> Self::Future {
        let under_way = self.pace.begin();
        let mut request = request.map(Arrived::into_body);
        request.extensions_mut().insert(self.peer.clone());
        let answer = match &mut self.health {
            Some(health) if request.uri().path().starts_with(HEALTH) => Answer::Health(health.call(request)),
            _ => Answer::Inner(self.inner.call(request)),
        };
        ServedFuture { answer, request: Some(under_way) }
    }
}

/// Response of [`Served`].
#[pin_project]
pub(super) struct ServedFuture<F> {
    #[pin]
    answer: Answer<F>,
    request: Option<pace::Request>,
}

#[pin_project(project = Project)]
enum Answer<F> {
    Health(#[pin] BoxFuture<Response<Body>, std::convert::Infallible>),
    Inner(#[pin] F),
}

impl<F, B, E> Future for ServedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Output = Result<Response<Body>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(match this.answer.project() {
            Project::Health(response) => finish(ready!(response.poll(cx)), this.request),
            Project::Inner(response) => finish(ready!(response.poll(cx)), this.request),
        })
    }
}

/// Gives the body the one type there is on the wire, and the [`Trailers`] of its response; `request` ends where it does,
/// and the connection with it if it is the last.
fn finish<B, E>(
    answer: Result<Response<B>, E>,
    request: &mut Option<pace::Request>,
) -> Result<Response<Body>, BoxError>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    E: Into<BoxError>,
{
    let (mut head, body) = answer.map_err(Into::into)?.into_parts();
    let request = request.take();
    // A connection that becomes another goes on as that.
    if request.as_ref().is_some_and(pace::Request::is_last) && head.status != StatusCode::SWITCHING_PROTOCOLS
    {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let body = match head.extensions.remove::<Trailers>() {
        Some(trailers) => paced(TrailersBody::new(body, trailers), request),
        None => paced(body, request),
    };
    Ok(Response::from_parts(head, body))
}

fn paced<B>(body: B, request: Option<pace::Request>) -> Body
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    match request {
        Some(request) if !body.is_end_stream() => Body::new(PacedBody::new(body, request)),
        _ => Body::new(body),
    }
}
