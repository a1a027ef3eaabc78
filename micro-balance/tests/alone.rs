//! Each layer by itself around a service that knows nothing of balancers, as whoever only wants that one writes it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::{io, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use micro_balance::{
    breaker::BreakerLayer,
    failfast::FailfastLayer,
    hedge::HedgeLayer,
    limit::{Aimd, Gradient, Gradient2, LimitLayer, Vegas},
    retry::RetryLayer,
    session::SessionLayer,
    throttle::ThrottleLayer,
    timeout::{IdleTimeoutLayer, TimeoutLayer},
};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};

const SECOND: Duration = Duration::from_secs(1);

/// Whatever body the layer around makes of the request's.
async fn greet<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, BoxError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let name = request.into_body().collect().await.map_err(Into::into)?.to_bytes();
    Ok(Response::new(Full::new([b"Hello ", &name[..]].concat().into())))
}

/// Sends one request, by a clone in a task of its own as servers do it.
async fn greets<S, C>(service: S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<C>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    C: Body<Data = Bytes> + Send + 'static,
    C::Error: Into<BoxError> + std::fmt::Debug,
{
    let request = Request::post("http://greeter/").body(Full::from("John")).unwrap();
    let response = tokio::spawn(service.oneshot(request)).await.unwrap().map_err(Into::into).unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "Hello John");
}

#[tokio::test]
async fn any_layer_goes_around_any_http_service() {
    greets(ServiceBuilder::new().layer(RetryLayer::new()).service_fn(greet)).await;
    greets(ServiceBuilder::new().layer(HedgeLayer::after(SECOND)).service_fn(greet)).await;
    greets(ServiceBuilder::new().layer(TimeoutLayer::per_call(SECOND)).service_fn(greet)).await;
    greets(ServiceBuilder::new().layer(TimeoutLayer::per_attempt(SECOND).shared()).service_fn(greet)).await;
    greets(ServiceBuilder::new().layer(IdleTimeoutLayer::new(SECOND)).service_fn(greet)).await;
    greets(ServiceBuilder::new().layer(LimitLayer::new(3)).service_fn(greet)).await;
    greets(ServiceBuilder::new().layer(LimitLayer::new(3).http()).service_fn(greet)).await;
    for layer in [
        LimitLayer::adaptive(Aimd::default()),
        LimitLayer::adaptive(Vegas::default()),
        LimitLayer::adaptive(Gradient::default()),
        LimitLayer::adaptive(Gradient2::default()),
    ] {
        greets(ServiceBuilder::new().layer(layer.http()).service_fn(greet)).await;
    }
    greets(ServiceBuilder::new().layer(ThrottleLayer::new().http()).service_fn(greet)).await;
    greets(ServiceBuilder::new().layer(FailfastLayer::new(SECOND)).service_fn(greet)).await;
    greets(ServiceBuilder::new().layer(BreakerLayer::new().http()).service_fn(greet)).await;
    greets(ServiceBuilder::new().layer(SessionLayer::new("session")).service_fn(greet)).await;
}

#[tokio::test]
async fn all_of_them_go_around_each_other() {
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::per_call(5 * SECOND))
        .layer(IdleTimeoutLayer::new(SECOND))
        .layer(ThrottleLayer::new().http())
        .layer(HedgeLayer::after(SECOND))
        .layer(RetryLayer::new())
        .layer(TimeoutLayer::per_attempt(SECOND))
        .layer(LimitLayer::new(3).http())
        .layer(BreakerLayer::new().http())
        .layer(FailfastLayer::new(SECOND))
        .service_fn(greet);
    greets(service).await;
}

/// What does not read answers goes around services that are not of HTTP at all.
#[tokio::test]
async fn layers_that_do_not_read_answers_go_around_any_service() {
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::per_call(SECOND))
        .layer(ThrottleLayer::new())
        .layer(LimitLayer::new(3))
        .layer(BreakerLayer::new())
        .layer(FailfastLayer::new(SECOND))
        .service_fn(|number: u32| async move { Ok::<_, io::Error>(number + 1) });
    assert_eq!(service.oneshot(1).await.unwrap(), 2);
}

/// A service that has no type of its own any more.
fn boxed<B>() -> BoxCloneService<Request<B>, Response<Full<Bytes>>, BoxError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError> + Send,
{
    BoxCloneService::new(service_fn(greet::<B>))
}

#[tokio::test]
async fn any_layer_goes_around_a_boxed_service() {
    greets(RetryLayer::new().layer(boxed())).await;
    greets(HedgeLayer::after(SECOND).layer(boxed())).await;
    greets(TimeoutLayer::per_call(SECOND).layer(boxed())).await;
    greets(TimeoutLayer::per_attempt(SECOND).shared().layer(boxed())).await;
    greets(IdleTimeoutLayer::new(SECOND).layer(boxed())).await;
    greets(LimitLayer::new(3).http().layer(boxed())).await;
    greets(LimitLayer::adaptive(Gradient2::default()).http().layer(boxed())).await;
    greets(ThrottleLayer::new().http().layer(boxed())).await;
    greets(FailfastLayer::new(SECOND).layer(boxed())).await;
    greets(BreakerLayer::new().http().layer(boxed())).await;
    greets(SessionLayer::new("session").layer(boxed())).await;
    // And whatever is made of them may lose its type as well.
    let layers = ServiceBuilder::new().layer(HedgeLayer::after(SECOND)).layer(RetryLayer::new());
    greets(BoxCloneService::new(layers.service(boxed()))).await;
}

/// What a client of tonic's is given, around what takes bodies of tonic's only.
#[cfg(feature = "grpc")]
mod channel {
    use micro_balance::retry::ReplayBody;
    use tonic::body::Body;
    use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};
    use tower::Layer;

    use super::*;

    /// As tonic's: its errors are its own.
    async fn channel(request: Request<Body>) -> Result<Response<Body>, io::Error> {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        let status = prost::Message::encode_to_vec(&HealthCheckResponse { status: 1 });
        let message = [&[0, 0, 0, 0, status.len() as u8], &status[..]].concat();
        let trailers = [("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect();
        let body = Full::from(message).with_trailers(std::future::ready(Some(Ok(trailers))));
        Ok(Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap())
    }

    /// The same for attempts, whatever their layer makes of bodies.
    fn attempts<B>() -> BoxCloneService<Request<ReplayBody<B>>, Response<Body>, io::Error>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let tonics = |attempt: Request<ReplayBody<B>>| attempt.map(Body::new);
        ServiceBuilder::new().boxed_clone().map_request(tonics).service_fn(channel)
    }

    async fn serves<S, C>(service: S)
    where
        S: Service<Request<Body>, Response = Response<C>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        C: http_body::Body<Data = Bytes> + Send + 'static,
        C::Error: Into<BoxError> + Send,
    {
        let answer = HealthClient::new(service).check(HealthCheckRequest::default()).await.unwrap();
        assert_eq!(answer.get_ref().status, 1);
    }

    #[tokio::test]
    async fn any_layer_goes_between_tonics_client_and_tonics_channel() {
        serves(RetryLayer::new().layer(attempts())).await;
        serves(HedgeLayer::after(SECOND).layer(attempts())).await;
        serves(TimeoutLayer::per_call(SECOND).layer(service_fn(channel))).await;
        serves(IdleTimeoutLayer::new(SECOND).layer(service_fn(channel))).await;
        serves(LimitLayer::new(3).http().layer(service_fn(channel))).await;
        serves(ThrottleLayer::new().http().layer(service_fn(channel))).await;
        serves(FailfastLayer::new(SECOND).layer(service_fn(channel))).await;
        serves(BreakerLayer::new().http().layer(service_fn(channel))).await;
        serves(SessionLayer::new("session").layer(service_fn(channel))).await;
        let within = RetryLayer::new().layer(attempts());
        serves(HedgeLayer::after(SECOND).layer(within)).await;
    }
}
