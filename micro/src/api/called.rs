//! Requests that are calls of methods: the handlers `rpc` and `api`, and JSON for a gRPC method's own path.

use std::time::Duration;

use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};
use micro_balance::SentTo;
use micro_tower::Client;
use prost_reflect::MethodDescriptor;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic_prost::ProstCodec;

use super::catalog::Catalog;
use super::message::{ApiRequest, ApiResponse};
use super::policy::Policy;
use crate::call::Error;
use crate::proxy::{Fault, Peer, Upstream, metered, whole};
use crate::rpc::{by_name, failure};
use crate::schema;
use crate::time_limit::limit;
use crate::transcode::{Found, metadata, transcode};

/// What `upstream` calls `name`; asked anew if it does not know it.
async fn method(
    catalog: &Catalog,
    upstream: &Upstream,
    name: &str,
) -> Result<MethodDescriptor, schema::Error> {
    match catalog.schema(upstream).await?.method(name) {
        Err(schema::Error::NoMethod { .. }) => catalog.newer_schema(upstream).await?.method(name),
        found => found,
    }
}

/// Calls `name` with the body of `request`: JSON or protobuf, or the fields of a query.
pub(super) async fn rpc(
    catalog: &Catalog,
    upstream: &Upstream,
    name: &str,
    request: Request<Body>,
    policy: &Policy,
) -> Response<Body> {
    let kind =
        request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let known = [
        "",
        "application/json",
        "application/json+protobuf",
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/proto",
        "application/protobuf",
        "application/x-protobuf",
    ];
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    if !get && request.method() != Method::POST {
        return Fault::new(
            policy.id(),
            StatusCode::METHOD_NOT_ALLOWED,
            "a method is called by POST, or by GET",
        )
        .response();
    }
    if !get && !known.contains(&kind.as_str()) {
        let what = format!(
            "Unsupported Content-Type {kind}: a method reads application/json or application/protobuf"
        );
        return Fault::new(policy.id(), StatusCode::BAD_REQUEST, what).response();
    }
    if upstream.facts().is_go_micro() {
        return go_micro(upstream, name, request, policy).await;
    }
    match method(catalog, upstream, name).await {
        Ok(method) => {
            let found = if get { Found::query(method) } else { Found::whole(method) };
            let (client, how) = (policy.client(upstream), policy.transcoding());
            metered(upstream, name, request, |request| transcode(client, found, request, &how)).await
        }
        Err(schema::Error::NoReflection(_)) => go_micro(upstream, name, request, policy).await,
        Err(error) => unknown(policy.id(), error, upstream).response(),
    }
}

/// Calls `name` with the JSON of `request`, of a service that speaks go-micro's RPC or JSON by name.
async fn go_micro(
    upstream: &Upstream,
    name: &str,
    request: Request<Body>,
    policy: &Policy,
) -> Response<Body> {
    let carry = |request: Request<Body>| async {
        let how = policy.transcoding();
        let (parts, body) = request.into_parts();
        let body =
            whole(body, how.most_bytes, how.timeout).await.map_err(|unread| unread.fault(policy.id()))?;
        let body = if body.trim_ascii().is_empty() { "{}".into() } else { body };
        by_name(policy.client(upstream), name, &parts, body, how.timeout).await
    };
    metered(upstream, name, request, |request| async {
        carry(request).await.unwrap_or_else(|fault: Fault| fault.response())
    })
    .await
}

/// Calls `name` with the request as a message, and answers what the answer says.
pub(super) async fn api(
    catalog: &Catalog,
    upstream: &Upstream,
    name: &str,
    request: Request<Body>,
    peer: &Peer,
    policy: &Policy,
) -> Response<Body> {
    let how = policy.transcoding();
    let method = match method(catalog, upstream, name).await {
        Ok(method) => method,
        Err(error) => return unknown(policy.id(), error, upstream).response(),
    };
    let carry = |request: Request<Body>| async {
        let (parts, body) = request.into_parts();
        let body = match whole(body, how.most_bytes, how.timeout).await {
            Ok(body) => body,
            Err(unread) => return unread.fault(policy.id()).response(),
        };
        let called = call(policy.client(upstream), &method, &parts, &body, peer, how.timeout);
        match tokio::time::timeout(how.timeout, called).await {
            Ok(Ok(answer)) => answer.into_response(),
            Ok(Err(status)) => failure(policy.id(), &status.into()).response(),
            Err(_) => late(policy.id(), upstream, name, how.timeout).response(),
        }
    };
    metered(upstream, name, request, carry).await
}

async fn call(
    client: Client,
    method: &MethodDescriptor,
    parts: &Parts,
    body: &[u8],
    peer: &Peer,
    timeout: Duration,
) -> Result<ApiResponse, tonic::Status> {
    let message = ApiRequest::new(parts, body, peer)?;
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = path.try_into().map_err(|_| tonic::Status::internal("the method's name is no path"))?;
    let mut asked = tonic::Request::new(message);
    *asked.metadata_mut() = MetadataMap::from_headers(metadata(&parts.headers));
    limit(&mut asked, timeout);
    parts.extensions.get::<SentTo>().and_then(|sent_to| asked.extensions_mut().insert(sent_to.clone()));
    let mut grpc = Grpc::new(client);
    grpc.ready().await.map_err(tonic::Status::from_error)?;
    let codec: ProstCodec<ApiRequest, ApiResponse> = ProstCodec::default();
    Ok(grpc.unary(asked, path, codec).await?.into_inner())
}

fn late(id: &str, upstream: &Upstream, method: &str, timeout: Duration) -> Fault {
    let detail = format!("service {} did not answer {method} within {timeout:?}", upstream.name());
    Fault::new(id, StatusCode::GATEWAY_TIMEOUT, detail)
}

/// A method that is not there is 404; a service that does not describe itself cannot be called by JSON.
fn unknown(id: &'static str, error: schema::Error, upstream: &Upstream) -> Fault {
    match error {
        schema::Error::NoMethod { .. } | schema::Error::Ambiguous { .. } => {
            Fault::new(id, StatusCode::NOT_FOUND, format!("service {}: {error}", upstream.name()))
        }
        error => failure(id, &Error::Schema(error)),
    }
}
