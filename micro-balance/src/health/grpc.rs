//! Speaks gRPC's health protocol, <https://github.com/grpc/proposal/blob/master/A17-client-side-health-checking.md>.

use std::{
    fmt,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use http::{Request, Response};
use http_body::Body;
use tonic::{Code, Status, body::Body as TonicBody, metadata::MetadataMap};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use tower::{BoxError, ServiceExt, util::MapRequest};
use tower_service::Service;

use super::check::{Check, DEGRADED};
use crate::condition::Condition;

/// Listens to an endpoint by `grpc.health.v1.Health/Watch`, or asks it by `Check`.
///
/// It is well while it says SERVING, or degraded if the answer, or the stream, began with the header `x-envoy-degraded`.
/// Any other word, that it does not know the service, and a broken stream
/// mean that it is not; a broken stream is opened again after a growing wait. An endpoint that does not speak the
/// protocol at all (UNIMPLEMENTED) counts as well, and a warning says so once.
pub struct GrpcCheck<B> {
    service: String,
    unary: bool,
    warned: Arc<AtomicBool>,
    body: PhantomData<fn() -> B>,
}

impl<B> GrpcCheck<B> {
    /// Follows the health of `service`, a full name such as `helloworld.Greeter`; the empty name stands for the
    /// whole server.
    pub fn new(service: impl Into<String>) -> Self {
        Self { service: service.into(), unary: false, warned: Arc::default(), body: PhantomData }
    }

    /// Asks by `Check` from time to time, in place of following `Watch`.
    #[must_use]
    pub fn unary(mut self) -> Self {
        self.unary = true;
        self
    }

    fn request(&self) -> HealthCheckRequest {
        HealthCheckRequest { service: self.service.clone() }
    }
}

type Client<S, B> = HealthClient<MapRequest<S, fn(Request<TonicBody>) -> Request<B>>>;

fn client<S, B, C>(service: S) -> Client<S, B>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Error: Into<BoxError>,
    B: From<TonicBody>,
    C: Body<Data = Bytes> + Send + 'static,
    C::Error: Into<BoxError> + Send,
{
    HealthClient::new(service.map_request(|request: Request<TonicBody>| request.map(B::from)))
}

impl<S, B, C> Check<S> for GrpcCheck<B>
where
    S: Service<Request<B>, Response = Response<C>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: From<TonicBody> + Send + 'static,
    C: Body<Data = Bytes> + Send + 'static,
    C::Error: Into<BoxError> + Send,
{
    fn ask(&self, service: S) -> BoxFuture<'static, Result<Condition, BoxError>> {
        let (mut client, request, warned) = (client(service), self.request(), self.warned.clone());
        Box::pin(async move {
            match client.check(request).await {
                Ok(answer) => Ok(said(answer.get_ref(), is_degraded(answer.metadata()))),
                Err(status) if unimplemented(&status, &warned) => Ok(Condition::Well),
                Err(status) => Err(status.into()),
            }
        })
    }

    fn follow(&self, service: S) -> Option<BoxStream<'static, Result<Condition, BoxError>>> {
        if self.unary {
            return None;
        }
        let (mut client, request, warned) = (client(service), self.request(), self.warned.clone());
        let words = async move {
            match client.watch(request).await {
                // The client lives as long as its stream.
                Ok(words) => {
                    let degraded = is_degraded(words.metadata());
                    let said = move |word: HealthCheckResponse| said(&word, degraded);
                    words.into_inner().map(move |word| (word.map(said), &client).0).boxed()
                }
                Err(status) => stream::iter([Err(status)]).boxed(),
            }
        };
        let words = words.flatten_stream().flat_map(move |word| match word {
            Ok(condition) => stream::iter([Ok(condition)]).boxed(),
            // There is nothing to follow; a connection to another server is asked anew.
            Err(status) if unimplemented(&status, &warned) => {
                stream::iter([Ok(Condition::Well)]).chain(stream::pending()).boxed()
            }
            Err(status) => stream::iter([Err(status.into())]).boxed(),
        });
        Some(words.boxed())
    }
}

fn said(answer: &HealthCheckResponse, degraded: bool) -> Condition {
    match answer.status() {
        ServingStatus::Serving if degraded => Condition::Degraded,
        ServingStatus::Serving => Condition::Well,
        _ => Condition::Unwell,
    }
}

fn is_degraded(metadata: &MetadataMap) -> bool {
    metadata.contains_key(DEGRADED.as_str())
}

/// Whether the endpoint does not speak the protocol; warns the first time.
fn unimplemented(status: &Status, warned: &AtomicBool) -> bool {
    let unimplemented = status.code() == Code::Unimplemented;
    if unimplemented && !warned.swap(true, Relaxed) {
        tracing::warn!("an endpoint does not implement grpc.health.v1.Health, and counts as healthy");
    }
    unimplemented
}

impl<B> fmt::Debug for GrpcCheck<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcCheck")
            .field("service", &self.service)
            .field("unary", &self.unary)
            .finish_non_exhaustive()
    }
}
