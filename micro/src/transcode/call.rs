//! Carries out a request as a gRPC call.

use std::time::Duration;

use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use micro_balance::{SentTo, grpc_timeout};
use micro_tower::Client;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::documents::{Complaint, Documents, documents, is_lines};
use super::input::{Input, is_protobuf, message};
use super::output::{output, protobuf};
use super::raw::{Raw, is_raw};
use super::route::Found;
use super::status::Problem;
use super::stream::{Form, Several};
use crate::call::invoke;
use crate::proxy::{is_listed, whole};
use crate::time_limit;

/// How requests are carried out.
#[derive(Clone, Copy, Debug)]
pub struct Transcoding {
    /// How long a call with one answer may take, unless the client says.
    pub timeout: Duration,
    /// How long the body of a request may be, in bytes.
    pub most_bytes: usize,
}

impl Default for Transcoding {
    /// 30 s and 4 MiB, as gRPC servers take by default.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), most_bytes: 4 << 20 }
    }
}

/// Calls the method `found` by `client` with what `request` gives, and answers with what comes back.
pub async fn transcode(
    client: Client,
    found: Found,
    request: Request<Body>,
    how: &Transcoding,
) -> Response<Body> {
    let pool = found.method.parent_pool().clone();
    let (form, streams) = (Form::wanted(request.headers()), found.method.is_server_streaming());
    let binary = binary(request.headers()).filter(|_| found.response_body.is_empty());
    let mut complaint = Complaint::never();
    match call(client, &found, request, how, &mut complaint).await {
        Ok(response) if streams && is_raw(&found.method, &found.response_body) => {
            let (metadata, answers, _) = response.into_parts();
            match Raw::begin(answers, complaint, found.response_body).await {
                Ok((kind, body)) => answer(Body::new(body), &kind, metadata),
                Err(status) => failed(&status, Some(&pool)),
            }
        }
        Ok(response) if streams => {
            let (metadata, answers, _) = response.into_parts();
            let body = Several::new(answers, complaint, found.response_body, pool, form);
            answer(Body::new(body), form.kind(), metadata)
        }
        Ok(response) => match complaint.unless(only(response)).await.and_then(|(metadata, message)| {
            let output = match &binary {
                Some(kind) => protobuf(&message, kind),
                None => output(&message, &found.response_body)?,
            };
            Ok(answer(Body::new(http_body_util::Full::new(output.data)), &output.kind, metadata))
        }) {
            Ok(response) => response,
            Err(status) => failed(&status, Some(&pool)),
        },
        Err(status) => failed(&status, Some(&pool)),
    }
}

/// The type of protobuf that a client sent, unless it wants JSON back.
fn binary(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = text(header::CONTENT_TYPE).filter(|kind| is_protobuf(kind))?;
    let json = text(header::ACCEPT).is_some_and(|accept| accept.contains("application/json"));
    (!json).then(|| kind.to_owned())
}

type Answers = tonic::Response<tonic::Streaming<DynamicMessage>>;

async fn call(
    client: Client,
    found: &Found,
    request: Request<Body>,
    how: &Transcoding,
    complaint: &mut Complaint,
) -> Result<Answers, Status> {
    let (parts, body) = request.into_parts();
    let sent_to = parts.extensions.get::<SentTo>().cloned();
    let kind =
        parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let query = parts.uri.query().unwrap_or_default();
    let method = &found.method;
    if method.is_client_streaming() && is_lines(kind) {
        let verb = parts.method.clone();
        let (documents, why) = Documents::new(found.clone(), verb, query, body, how.most_bytes);
        *complaint = why;
        let mut request = asked(&parts.headers, method, how, documents)?;
        sent_to.and_then(|sent_to| request.extensions_mut().insert(sent_to));
        return complaint.unless(invoke(client, method, request)).await;
    }
    let body = whole(body, how.most_bytes, how.timeout).await?;
    let one = |body: &[u8]| {
        let input = Input { verb: &parts.method, query, kind, body };
        message(found, &input).map_err(|error| Status::invalid_argument(error.to_string()))
    };
    let messages = match method.is_client_streaming() && !is_protobuf(kind) {
        true => {
            let documents = documents(&body);
            let documents = documents
                .map_err(|error| Status::invalid_argument(format!("the body is not JSON: {error}")))?;
            documents.iter().map(|document| one(document.get().as_bytes())).collect::<Result<_, _>>()?
        }
        false => vec![one(&body)?],
    };
    let mut request = asked(&parts.headers, method, how, stream::iter(messages))?;
    sent_to.and_then(|sent_to| request.extensions_mut().insert(sent_to));
    invoke(client, method, request).await
}

/// A call with what a request's headers say of it.
fn asked<M>(
    headers: &HeaderMap,
    method: &MethodDescriptor,
    how: &Transcoding,
    messages: M,
) -> Result<tonic::Request<M>, Status> {
    let mut request = tonic::Request::new(messages);
    let streams = method.is_server_streaming() || method.is_client_streaming();
    if let Some(timeout) = timeout(headers)?.or_else(|| (!streams).then_some(how.timeout)) {
        time_limit::limit(&mut request, timeout);
    }
    let given = std::mem::take(request.metadata_mut()).into_headers();
    let mut carried = metadata(headers);
    carried.extend(given);
    *request.metadata_mut() = MetadataMap::from_headers(carried);
    Ok(request)
}

/// The one answer of a call that has one.
async fn only(response: Answers) -> Result<(MetadataMap, DynamicMessage), Status> {
    let (metadata, mut answers, _) = response.into_parts();
    let message = answers.message().await?.ok_or_else(|| Status::internal("there was no answer"))?;
    // Its status comes behind it.
    while answers.message().await?.is_some() {}
    Ok((metadata, message))
}

fn answer(body: Body, kind: &str, metadata: MetadataMap) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let mut last = None;
    for (name, value) in metadata.into_headers() {
        last = name.or(last);
        if let Some(name) = last.clone().filter(|name| travels(name) && !name.as_str().starts_with("grpc-")) {
            headers.append(name, value);
        }
    }
    let kind = HeaderValue::from_str(kind).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn failed(status: &Status, pool: Option<&prost_reflect::DescriptorPool>) -> Response<Body> {
    metrics::counter!("micro_gateway_transcode_errors_total").increment(1);
    let mut response = Problem::new(status, pool).response();
    if status.code() == Code::ResourceExhausted && status.message().starts_with("the body is longer") {
        *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
    }
    response
}

/// What the client says in `grpc-timeout`, or in seconds in `x-request-timeout`.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    if let Some(value) = headers.get("grpc-timeout") {
        let timeout = grpc_timeout::decode(value);
        return timeout.map(Some).ok_or_else(|| Status::invalid_argument("malformed grpc-timeout"));
    }
    let Some(value) = headers.get("x-request-timeout") else { return Ok(None) };
    let seconds = value.to_str().ok().and_then(|text| text.parse::<f64>().ok());
    let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    timeout.map(Some).ok_or_else(|| Status::invalid_argument("x-request-timeout is a number of seconds"))
}

/// The headers of a request that its call carries: what says nothing of this hop, and `grpc-metadata-…` without that.
pub(crate) fn metadata(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    let lists = headers.contains_key(header::CONNECTION);
    for (name, value) in headers {
        if lists && is_listed(headers, name) {
            continue;
        }
        let name = match name.as_str().strip_prefix("grpc-metadata-") {
            Some(rest) => HeaderName::try_from(rest).unwrap_or_else(|_| name.clone()),
            None => name.clone(),
        };
        if travels(&name) && !name.as_str().starts_with("grpc-") {
            metadata.append(name, value.clone());
        }
    }
    metadata
}

/// Whether a header means anything behind this hop.
fn travels(name: &HeaderName) -> bool {
    const STAY: [&str; 22] = [
        "accept",
        "accept-encoding",
        "accept-language",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "expect",
        "host",
        "keep-alive",
        "origin",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "referer",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-request-timeout",
    ];
    !STAY.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_one_hop_alone_is_no_metadata() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Hop"),
            ("connection", "authorization"),
            ("x-hop", "secret"),
            ("authorization", "Bearer 1"),
            ("user-agent", "curl"),
            ("x-tenant", "a"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let metadata = metadata(&headers);
        let mut names: Vec<_> = metadata.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "x-tenant"], "nobody makes us forget who he is");
    }
}
