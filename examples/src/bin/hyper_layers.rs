//! Adds the server layers to a service of bare hyper, a function: `serve_connection` takes the stack of them, and the function
//! knows by which id its request goes.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use micro_tower::{
    Client,
    deadline::ServerDeadlineLayer,
    metadata::{Metadata, ServerMetadataLayer},
};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};

/// Tells the caller the id its request goes by in every log.
async fn echo(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let metadata = Metadata::current();
    let id = metadata.as_ref().and_then(Metadata::request_id).unwrap_or("none");
    Ok(Response::new(Full::new(format!("request id of {} characters", id.len()).into())))
}

async fn serve(listener: TcpListener) {
    let service = ServiceBuilder::new()
        .layer(ServerMetadataLayer::new())
        .layer(ServerDeadlineLayer::new())
        .service(service_fn(echo));
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            // A connection that breaks is the caller's to notice.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let registry = micro_discover::open(&format!("fixed://{}", listener.local_addr()?))?;
    tokio::spawn(serve(listener));

    let request = Request::get("http://echo/").body(String::new())?;
    let answer = Client::builder("echo", registry).build().send(request).await;
    let body = answer.map_err(anyhow::Error::from_boxed)?.into_body().collect().await;
    let text = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
    println!("{}", String::from_utf8_lossy(&text));
    Ok(())
}
