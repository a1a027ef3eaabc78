//! A client of one service, over all of its endpoints.

mod builder;
mod endpoints;
mod response;

use std::{
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use micro_balance::{
    Balance, Http, View,
    policy::{PeakEwma, Policy},
    retry::{ReplayBody, Retry, RetryLayer},
    timeout::{SharedTimeout, SharedTimeoutLayer, TimeoutLayer},
};
use tower::{BoxError, ServiceBuilder};
use tower_service::Service;

pub use self::{
    builder::Builder,
    endpoints::ConnectedEndpoints,
    response::{ResponseBody, ResponseFuture},
};
use crate::{
    deadline::{AttemptDeadline, AttemptDeadlineLayer, ClientDeadline, Deadline, DeadlineLayer},
    metadata::{ClientMetadata, MetadataLayer},
    status::{GrpcErrors, GrpcErrorsLayer},
    transport::Connection,
};

/// What one attempt carries: tonic's body, kept for the next attempt.
type Attempt = ReplayBody<tonic::body::Body>;
/// Picks an endpoint for each attempt.
type Balancer<P> = Balance<Connection<Attempt>, Request<Attempt>, P, Http>;
/// The way of a request, from the caller inwards.
type Path<P> = ClientMetadata<GrpcErrors<ClientDeadline<Retry<SharedTimeout<AttemptDeadline<Balancer<P>>>>>>>;

/// The way of a request, from the caller inwards.
fn path<P: Policy>(
    deadline: DeadlineLayer,
    retry: RetryLayer,
    attempt: SharedTimeoutLayer,
    balancer: Balancer<P>,
) -> Path<P> {
    ServiceBuilder::new()
        .layer(MetadataLayer)
        .layer(GrpcErrorsLayer)
        .layer(deadline)
        // No attempt is waited for that could not be made in time.
        .layer(retry.deadline(|| Deadline::current().map(Deadline::instant)))
        .layer(attempt)
        .layer(AttemptDeadlineLayer)
        .service(balancer)
}

/// Calls a service: finds its endpoints, balances over them, keeps deadlines, and sends again what may be.
///
/// A generated client takes it as it would a `tonic::transport::Channel`. It is a service for any other HTTP
/// request as well. Clones are cheap, and share everything; the last one takes the connections with it.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use micro_tower::Client;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let registry = micro_discover::open("fixed://127.0.0.1:8080")?;
/// let client = Client::builder("greeter", registry).timeout(Duration::from_secs(2)).build();
/// // let mut greeter = GreeterClient::new(client);
/// # drop(client);
/// # Ok(())
/// # }
/// ```
pub struct Client<P: Policy = PeakEwma> {
    path: Path<P>,
    balancer: Balancer<P>,
}

impl<P: Policy> Client<P> {
    fn new(
        deadline: DeadlineLayer,
        retry: RetryLayer,
        attempt: Option<Duration>,
        balancer: Balancer<P>,
    ) -> Self {
        let attempt = TimeoutLayer::per_attempt(attempt.unwrap_or(Duration::MAX)).shared();
        Self { path: path(deadline, retry, attempt, balancer.clone()), balancer }
    }

    /// Sends `request`, whatever its body is. A client is always ready, so this is all it takes, and less than a clone.
    pub fn send<B>(&self, request: Request<B>) -> ResponseFuture<P>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        ResponseFuture::new(self.path.clone().call(request.map(tonic::body::Body::new)))
    }

    /// A client over the same endpoints and connections whose calls have rules of their own: `timeout` for a call with
    /// all its attempts, if there is one, `attempt` for each until its answer begins, and `retry`.
    ///
    /// For one that calls several methods, some of which are worth more patience than others. It costs an allocation.
    pub fn with_rules(
        &self,
        timeout: Option<Duration>,
        attempt: Option<Duration>,
        retry: RetryLayer,
    ) -> Self {
        let deadline =
            timeout.map_or_else(DeadlineLayer::new, |timeout| DeadlineLayer::new().timeout(timeout));
        Self::new(deadline, retry, attempt, self.balancer.clone())
    }

    /// The endpoints of the service, with their states and figures.
    pub fn endpoints(&self) -> Vec<View> {
        self.balancer.endpoints()
    }
}

impl<B, P> Service<Request<B>> for Client<P>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    P: Policy,
{
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = ResponseFuture<P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.path.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture<P> {
        // Leaves tonic's own body as it is.
        ResponseFuture::new(self.path.call(request.map(tonic::body::Body::new)))
    }
}

impl<P: Policy> Clone for Client<P> {
    fn clone(&self) -> Self {
        Self { path: self.path.clone(), balancer: self.balancer.clone() }
    }
}

impl<P: Policy> fmt::Debug for Client<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoints", &self.endpoints()).finish_non_exhaustive()
    }
}
