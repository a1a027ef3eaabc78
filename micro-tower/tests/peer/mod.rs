//! Servers for the tests: on free ports of the loopback, gone with the test.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::panic)]

pub mod h2;

use std::{convert::Infallible, future::Future, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use micro_discover::Endpoint;
use micro_tower::transport::Connection;
use tokio::net::TcpListener;
use tonic::body::Body;
use tower::{BoxError, Service, ServiceExt};

pub fn endpoint(address: impl std::fmt::Display) -> Endpoint {
    Endpoint::new("a", address.to_string().parse().unwrap())
}

pub async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address where nobody listens.
pub async fn nobody() -> SocketAddr {
    listen().await.1
}

/// Serves `handler` over HTTP/1 and HTTP/2 until the test ends.
pub async fn serve<H, F>(handler: H) -> SocketAddr
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(serve_on(TokioIo::new(stream), handler.clone()));
        }
    });
    address
}

pub async fn serve_on<I, H, F>(io: I, handler: H)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = hyper::service::service_fn(move |request| {
        let response = handler(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
}

/// Answers with the body of the request, and says in headers how it was addressed.
pub async fn echo(request: Request<Incoming>) -> Response<Body> {
    let uri = request.uri().to_string();
    let host = request.headers().get("host").cloned();
    let version = format!("{:?}", request.version());
    let mut response = Response::new(Body::new(request.into_body().map_err(BoxError::from)));
    response.headers_mut().insert("x-uri", uri.parse().unwrap());
    response.headers_mut().insert("x-version", version.parse().unwrap());
    if let Some(host) = host {
        response.headers_mut().insert("x-host", host);
    }
    response
}

pub fn request(path: &str, body: &'static str) -> Request<Body> {
    Request::post(path).body(Body::new(Full::new(Bytes::from(body)))).unwrap()
}

pub async fn call(
    connection: &mut Connection,
    request: Request<Body>,
) -> Result<Response<micro_tower::transport::Body>, BoxError> {
    connection.ready().await?.call(request).await
}

pub async fn text<B>(response: Response<B>) -> String
where
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}
