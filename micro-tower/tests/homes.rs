//! Server layers in every place where servers take layers; each answers a late call in good order.
#![allow(clippy::unwrap_used, clippy::panic)]

mod peer;

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use http::{Request, Response, StatusCode};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use micro_tower::{
    Client, deadline::ServerDeadlineLayer, metadata::ServerMetadataLayer, transport::Connector,
};
use peer::{call, endpoint, listen, request, text};
use tonic::{Code, body::Body, server::NamedService, service::Routes};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient, health_server::HealthServer};
use tower::{Layer as _, ServiceBuilder, service_fn};

type Health = HealthServer<tonic_health::server::HealthService>;

fn health() -> Health {
    HealthServer::new(tonic_health::server::HealthService::from_health_reporter(Default::default()))
}

/// Both server layers, one around the other.
fn layers() -> tower::layer::util::Stack<ServerDeadlineLayer, ServerMetadataLayer> {
    tower::layer::util::Stack::new(ServerDeadlineLayer::new(), ServerMetadataLayer::new())
}

async fn check(address: SocketAddr) {
    let registry = micro_discover::open(&format!("fixed://{address}")).unwrap();
    let client = Client::builder("greeter", registry).build();
    let mut health = HealthClient::new(client.clone());
    let response = health.check(HealthCheckRequest::default()).await.unwrap();
    assert!(response.metadata().contains_key("x-request-id"));
    assert_eq!(response.into_inner().status, 1);

    // The server refuses what the caller gave no time for, in the words of gRPC.
    let late = Request::post("/grpc.health.v1.Health/Check").header("content-type", "application/grpc");
    let late = late.header("grpc-timeout", "0n").body(Body::empty()).unwrap();
    let mut connection = Connector::new().connect(&endpoint(address));
    let response = call(&mut connection, late).await.unwrap();
    assert_eq!(
        (response.status(), &response.headers()["grpc-status"]),
        (StatusCode::OK, &"4".parse().unwrap())
    );

    let unknown = health.check(HealthCheckRequest { service: "other".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn around_a_tonic_server() {
    let (listener, address) = listen().await;
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let server = tonic::transport::Server::builder().layer(layers()).add_service(health());
    tokio::spawn(server.serve_with_incoming(incoming));
    check(address).await;
}

#[tokio::test]
async fn around_one_tonic_service() {
    let service = layers().layer(health());
    fn name<S: NamedService>(_: &S) -> &'static str {
        S::NAME
    }
    assert_eq!(name(&service), "grpc.health.v1.Health");
    let (listener, address) = listen().await;
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    check(address).await;
}

#[tokio::test]
async fn around_tonic_routes_in_this_server() {
    let bound = micro_tower::Server::new().health(false).bind().await.unwrap();
    let address = bound.local_address();
    let service = ServiceBuilder::new().layer(layers()).service(Routes::new(layers().layer(health())));
    tokio::spawn(bound.serve_until(service, std::future::pending()));
    check(address).await;
}

#[tokio::test]
async fn around_an_axum_router() {
    let slow = || async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        "late"
    };
    let timeout = ServerDeadlineLayer::new().timeout(Duration::from_millis(20));
    let router = axum::Router::new()
        .route("/slow", axum::routing::post(slow))
        .layer(timeout)
        .route("/hello", axum::routing::post(|| async { "hello" }))
        .route_service("/grpc.health.v1.Health/{method}", health())
        .layer(layers());
    let bound = micro_tower::Server::new().health(false).bind().await.unwrap();
    let address = bound.local_address();
    tokio::spawn(bound.serve_until(router, std::future::pending()));
    check(address).await;
    for connector in [Connector::http1(), Connector::http2()] {
        let mut connection = connector.connect(&endpoint(address));
        assert_eq!(text(call(&mut connection, request("/hello", "")).await.unwrap()).await, "hello");
        let late = call(&mut connection, request("/slow", "")).await.unwrap();
        assert_eq!(late.status(), StatusCode::GATEWAY_TIMEOUT);
    }
}

#[tokio::test]
async fn around_a_service_of_bare_hyper() {
    let inner = service_fn(|request: Request<hyper::body::Incoming>| async {
        let response = tower::ServiceExt::oneshot(health(), request).await?;
        Ok::<Response<Body>, Infallible>(response)
    });
    let service = TowerToHyperService::new(layers().layer(inner));
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    check(address).await;
}
