//! Carries out what is asked.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use micro_balance::SentTo;
use micro_discover::{Endpoint, Registry};
use micro_tower::{Client, wire};
use serde_json::{Value, json};
use tonic::Status;
use tonic::body::Body;

use super::request::RpcRequest;
use crate::call::{Answers, Call, Caller, Error, Target, documents, reason, say_reason, what};
use crate::proxy::{Directory, Fault, Upstream, Wire, metered, refuse_coded, whole};
use crate::remote::FAILURE;
use crate::schema::Json;
use crate::transcode::{Problem, http_status, metadata};

/// What errors come from.
const ID: &str = "go.micro.rpc";
/// The longest body that is read.
const MOST_BYTES: usize = 4 << 20;

/// Answers `/rpc`. Clones share its clients.
#[derive(Clone)]
pub struct Rpc {
    caller: Caller,
    directory: Directory,
    timeout: Duration,
}

impl Rpc {
    /// Calls the services of `directory`, each for `timeout` at most unless the client says less.
    pub fn new(directory: Directory, timeout: Duration) -> Self {
        let registry: Arc<dyn Registry> = directory.registry().clone();
        let connector = directory.connector().clone();
        let caller = Caller::new(registry).clients(move |client| client.connector(connector.clone()));
        Self { caller, directory, timeout }
    }

    /// The same, but each call may take `timeout` at most.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The answer to `request`, whatever its path.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        if request.method() != Method::POST {
            let mut response = Response::new(Body::new("Method not allowed\n".to_owned()));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        if let Some(refusal) = refuse_coded(ID, request.headers()) {
            return refusal;
        }
        let (parts, body) = request.into_parts();
        let kind =
            parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let body = match whole(body, MOST_BYTES, self.timeout).await {
            Ok(body) => body,
            Err(unread) => return unread.fault(ID).response(),
        };
        match RpcRequest::read(kind, &body) {
            Ok(asked) => self.call(asked, parts).await.unwrap_or_else(|fault| fault.response()),
            Err(why) => bad(why),
        }
    }

    /// Calls what is asked, with what the headers in `parts` have to say behind this hop.
    async fn call(&self, asked: RpcRequest, parts: Parts) -> Result<Response<Body>, Fault> {
        // The caller watches whatever it is asked for, so that has to be there.
        let upstream =
            self.directory.look_up(&asked.service).await.map_err(|unreachable| unreachable.fault(ID))?;
        let wanted = |endpoint: &Endpoint| {
            endpoint.id == asked.address || endpoint.address.to_string() == asked.address
        };
        if !asked.address.is_empty() && !upstream.facts().endpoints().any(wanted) {
            let detail = format!("service {} has no endpoint {}", upstream.name(), asked.address);
            return Err(Fault::new(ID, StatusCode::NOT_FOUND, detail));
        }
        let method = asked.method.clone();
        let carry = |request: Request<Body>| async {
            let (parts, _) = request.into_parts();
            self.carry(&upstream, asked, &parts).await.unwrap_or_else(|fault| fault.response())
        };
        Ok(metered(&upstream, &method, Request::from_parts(parts, Body::empty()), carry).await)
    }

    /// Carries a call of `upstream` out.
    async fn carry(
        &self,
        upstream: &Upstream,
        asked: RpcRequest,
        parts: &Parts,
    ) -> Result<Response<Body>, Fault> {
        let headers = &parts.headers;
        let request = if asked.request.trim().is_empty() { "{}".to_owned() } else { asked.request };
        let wants_lines = accepts_lines(headers);
        let limit = timeout(headers).map_or(self.timeout, |asked| asked.min(self.timeout));
        if upstream.facts().is_go_micro() && asked.address.is_empty() {
            let client = upstream.client(Wire::Http2).clone();
            return by_name(client, &asked.method, parts, request.into(), limit).await;
        }
        let mut call =
            Call::new(Target::Service(asked.service), asked.method).headers(metadata(headers)).timeout(limit);
        if !asked.address.is_empty() {
            call = call.endpoint(asked.address);
        }
        if let Some(sent_to) = parts.extensions.get::<SentTo>() {
            call = call.sent_to(sent_to.clone());
        }
        let mut answers = match self.caller.call(call, documents(&request)).await {
            Ok(answers) => answers,
            Err(error) => return Ok(failed(&error)),
        };
        if wants_lines {
            return Ok(lines(answers));
        }
        let answer = match answers.next().await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => return Ok(failed(&error)),
            None => {
                return Err(Fault::new(
                    ID,
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "error during request: no answer",
                ));
            }
        };
        // What went wrong may be said behind it.
        if let Some(Err(error)) = answers.next().await {
            return Ok(failed(&error));
        }
        let json = answer.json(&Json::new());
        let json =
            json.map_err(|error| Fault::new(ID, StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        Ok(answered(json.into()))
    }
}

/// Calls `method` by `client` in go-micro's words, whichever version of it is spoken there: JSON in, JSON out, with what
/// the headers in `parts` have to say, and where it went in a [`SentTo`] there.
///
/// # Errors
///
/// The service's own, or one of ours.
pub async fn by_name(
    client: Client,
    method: &str,
    parts: &Parts,
    request: Bytes,
    limit: Duration,
) -> Result<Response<Body>, Fault> {
    let mut client = wire::Client::new(client);
    if let Some(sent_to) = parts.extensions.get::<SentTo>() {
        client = client.sent_to(sent_to.clone());
    }
    match tokio::time::timeout(limit, client.call_text(method, metadata(&parts.headers), request)).await {
        Ok(answer) => Ok(answered(answer?)),
        Err(_) => {
            let detail = format!("{method} did not answer within {limit:?}");
            Err(Fault::new(ID, StatusCode::GATEWAY_TIMEOUT, detail))
        }
    }
}

/// Whether a client takes several answers.
fn accepts_lines(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.trim().starts_with("application/x-ndjson"))
}

/// All answers, a line each as it comes: `{"result":…}`, or `{"error":…}` as the last one.
fn lines(answers: Answers) -> Response<Body> {
    let lines = stream::unfold(Some(answers), |answers| async {
        let mut answers = answers?;
        let said = answers.next().await?;
        let json = said.and_then(|answer| {
            answer.json(&Json::new()).map_err(|error| Status::internal(error.to_string()).into())
        });
        let (line, left) = match json {
            Ok(json) => (format!("{{\"result\":{json}}}\n"), Some(answers)),
            Err(error) => (format!("{}\n", json!({"error": problem(&error)})), None),
        };
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(line))), left))
    });
    let mut response = Response::new(Body::new(StreamBody::new(lines)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

/// A failed call as it is said in a line.
fn problem(error: &Error) -> Value {
    let status = match error {
        Error::Status(status) => Status::clone(status),
        error => Status::new(error.code(), what(error)),
    };
    let mut problem = Problem::new(&status, None).json().clone();
    if let Some(reason) = reason(error) {
        problem[FAILURE] = reason.into();
    }
    problem
}

/// A failed call as an answer, which says which kind of failure it is.
fn failed(error: &Error) -> Response<Body> {
    let mut response = failure(ID, error).response();
    say_reason(error, response.headers_mut());
    response
}

fn answered(json: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(json)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn bad(why: impl Into<String>) -> Response<Body> {
    Fault::new(ID, StatusCode::BAD_REQUEST, why).response()
}

/// What go-micro's clients say in `timeout`: whole seconds.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("timeout")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// A failed call as go-micro's error: the service's own where it is one, or else one of the face `id`.
pub fn failure(id: &'static str, error: &Error) -> Fault {
    if let Error::Status(status) = error
        && let Some(fault) = Fault::parse(status.message())
    {
        return fault;
    }
    Fault::new(id, http_status(error.code()), format!("error during request: {}", what(error)))
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rpc").field("caller", &self.caller).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn why_the_registry_cannot_say_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let registry = micro_discover::open(&format!("file:{}", file.path().display())).unwrap();
        let rpc = Rpc::new(Directory::builder(registry).build(), Duration::from_secs(1));
        let call = r#"{"service": "greeter", "method": "Greeter.Hello", "request": {}}"#;
        let request = Request::post("/rpc").header("content-type", "application/json");
        let answer = rpc.answer(request.body(Body::new(call.to_owned())).unwrap()).await;
        let (status, body) = (answer.status(), answer.into_body().collect().await.unwrap().to_bytes());
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body:?}");
        assert!(String::from_utf8_lossy(&body).contains("Not a directory"), "{body:?}");
    }
}
