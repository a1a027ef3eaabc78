//! The sidecar itself.

use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::future::ready;
use futures_util::{StreamExt, stream};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use micro_broker::Event;
use micro_discover::{Address, Service};
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tower::BoxError;

use super::http::{Http, Late, lines, request, whole};
use super::record;
use crate::causes::chain;
use crate::codes::named;
use crate::escape::escape;

/// A sidecar, by its address. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Sidecar {
    http: Http,
}

/// What says which kind of failure an answer of `/rpc` tells of: a header, or a member of the error in a line.
pub(crate) const FAILURE: &str = "micro-failure";

/// How long it may take for anything but a call.
const WITHIN: Duration = Duration::from_secs(10);

impl Sidecar {
    /// The sidecar at `address`: `localhost:8081`, `http://host:8081`.
    ///
    /// # Errors
    ///
    /// That the address is none.
    pub fn new(address: &str) -> Result<Self, BoxError> {
        let address: Address = address.trim_end_matches('/').parse()?;
        Ok(Self { http: Http::new(&address) })
    }

    /// Calls `method` of `service`, or of the server at `address`, with requests in JSON, and gives its answers as they come.
    ///
    /// A sidecar of go-micro's takes one request and gives one answer.
    ///
    /// # Errors
    ///
    /// The status it answers with.
    pub async fn call(
        &self,
        service: &str,
        method: &str,
        address: Option<&str>,
        mut headers: HeaderMap,
        requests: Vec<Bytes>,
        limit: Duration,
    ) -> Result<BoxStream<'static, Result<Value, Status>>, Status> {
        let mut body = json!({"service": service, "method": method, "endpoint": method});
        let requests: Result<Vec<Value>, _> =
            requests.iter().map(|request| serde_json::from_slice(request)).collect();
        let mut requests = requests.map_err(|error| Status::invalid_argument(error.to_string()))?;
        match (requests.pop(), requests.is_empty()) {
            (Some(only), true) => body["request"] = only,
            (Some(last), false) => {
                requests.push(last);
                body["requests"] = requests.into();
            }
            (None, _) => body["requests"] = json!([]),
        }
        if let Some(address) = address {
            body["address"] = address.into();
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/x-ndjson, application/json;q=0.9"));
        let late = |error: Late| Status::deadline_exceeded(error.to_string());
        let unavailable = |error: BoxError| match error.downcast::<Late>() {
            Ok(error) => late(*error),
            Err(error) => Status::unavailable(chain(&*error)),
        };
        let request = request(Method::POST, "/rpc", headers, body.to_string().into()).map_err(unavailable)?;
        let response = self.http.open(request, limit).await.map_err(unavailable)?;
        let (head, body) = response.into_parts();
        let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        if head.status.is_success() && kind.starts_with(b"application/x-ndjson") {
            return Ok(lines(body).map(answer_of_line).boxed());
        }
        let answer = timeout(limit, whole(body)).await;
        let answer = answer.map_err(|_| late(Late(limit)))?.map_err(unavailable)?;
        if !head.status.is_success() {
            let mut status = failed(head.status, &answer);
            *status.metadata_mut() = MetadataMap::from_headers(head.headers);
            return Err(status);
        }
        let answer =
            serde_json::from_slice(&answer).map_err(|error| Status::internal(format!("not JSON: {error}")));
        Ok(stream::iter([answer]).boxed())
    }

    /// The events of `topic` as they come, shared among those of the same `queue`.
    pub(super) async fn events(
        &self,
        topic: &str,
        queue: Option<&str>,
    ) -> Result<impl Stream<Item = Event> + Send + use<>, BoxError> {
        let queue = queue.map(|queue| format!("&queue={}", escape(queue))).unwrap_or_default();
        let path = format!("/broker?topic={}{queue}", escape(topic));
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let request = request(Method::GET, &path, headers, Bytes::new())?;
        let (head, body) = self.http.open(request, WITHIN).await?.into_parts();
        if !head.status.is_success() {
            let late = |_| format!("no answer within {WITHIN:?}");
            return Err(refused(head.status, &timeout(WITHIN, whole(body)).await.map_err(late)??));
        }
        // Each is one line of data; the others name it, or keep the connection alive.
        Ok(lines(body).take_while(|line| ready(line.is_ok())).filter_map(|line| {
            let line = line.unwrap_or_default();
            let data = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii);
            ready(data.and_then(|data| Event::from_json(data).ok()))
        }))
    }

    /// Publishes `body` to `topic`.
    pub(super) async fn publish(
        &self,
        topic: &str,
        headers: HeaderMap,
        body: Bytes,
        limit: Duration,
    ) -> Result<(), BoxError> {
        let path = format!("/broker?topic={}", escape(topic));
        let (status, answer) = self.http.send(Method::POST, &path, headers, body, limit).await?;
        done(status, &answer)
    }

    /// The names of all services.
    pub(super) async fn names(&self) -> Result<Vec<String>, BoxError> {
        let (status, answer) = self.get("/registry").await?;
        done(status, &answer)?;
        let each: Vec<Value> = serde_json::from_slice(&answer).map_err(|error| no_sidecar(&error))?;
        // Some list the records, some their names.
        let name = |each: Value| match each {
            Value::String(name) => Some(name),
            other => Some(other.get("name")?.as_str()?.to_owned()),
        };
        Ok(each.into_iter().filter_map(name).collect())
    }

    /// The records of one service.
    pub(super) async fn records(&self, name: &str) -> Result<Vec<Service>, BoxError> {
        let (status, answer) = self.get(&format!("/registry?service={}", escape(name))).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        done(status, &answer)?;
        let records: Vec<Value> = serde_json::from_slice(&answer).map_err(|error| no_sidecar(&error))?;
        records.into_iter().map(record::read).collect()
    }

    /// Puts a record, for `ttl`, or for ever if that is zero.
    pub(super) async fn put(&self, service: &Service, ttl: Duration) -> Result<(), BoxError> {
        let path = match ttl.as_millis() {
            _ if ttl.is_zero() => "/registry".to_owned(),
            // What is for less than that is not for ever.
            millis => format!("/registry?ttl={}ms", millis.max(1)),
        };
        self.change(Method::POST, &path, service).await
    }

    /// Takes a record out.
    pub(super) async fn remove(&self, service: &Service) -> Result<(), BoxError> {
        self.change(Method::DELETE, "/registry", service).await
    }

    async fn change(&self, method: Method, path: &str, service: &Service) -> Result<(), BoxError> {
        let (status, answer) =
            self.send(method, path, HeaderMap::new(), &record::write(service), WITHIN).await?;
        done(status, &answer)
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), BoxError> {
        self.http.send(Method::GET, path, HeaderMap::new(), Bytes::new(), WITHIN).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: &Value,
        limit: Duration,
    ) -> Result<(StatusCode, Bytes), BoxError> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.http.send(method, path, headers, Bytes::from(body.to_string()), limit).await
    }
}

fn done(status: StatusCode, answer: &Bytes) -> Result<(), BoxError> {
    if status.is_success() { Ok(()) } else { Err(refused(status, answer)) }
}

fn no_sidecar(error: &serde_json::Error) -> BoxError {
    format!("what answers there is no sidecar: its answer is not JSON, {error}").into()
}

/// What the sidecar answered where it did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("the sidecar answers {status}: {detail}")]
pub(super) struct Refused {
    status: StatusCode,
    detail: String,
}

impl Refused {
    /// What is wrong with what was asked, if it is that.
    pub(super) fn wrong(&self) -> Option<&str> {
        let what = self.detail.split_once(" rejects ").map_or(&*self.detail, |(_, what)| what);
        (self.status == StatusCode::BAD_REQUEST).then_some(what)
    }
}

fn refused(status: StatusCode, answer: &Bytes) -> BoxError {
    Refused { status, detail: detail(answer) }.into()
}

/// What a line of several answers says: `{"result":…}`, or `{"error":…}` as the last of them.
fn answer_of_line(line: Result<Bytes, BoxError>) -> Result<Value, Status> {
    let line = line.map_err(|error| Status::unavailable(chain(&*error)))?;
    let not_json = |error: serde_json::Error| Status::internal(format!("not JSON: {error}"));
    let mut said: Value = serde_json::from_slice(&line).map_err(not_json)?;
    let Some(error) = said.get("error") else { return Ok(said["result"].take()) };
    let code =
        error["code"].as_i64().and_then(|code| i32::try_from(code).ok()).unwrap_or(Code::Unknown as i32);
    let mut status = Status::new(Code::from_i32(code), error["message"].as_str().unwrap_or_default());
    if let Some(Ok(reason)) = error[FAILURE].as_str().map(str::parse) {
        status.metadata_mut().insert(FAILURE, reason);
    }
    Err(status)
}

/// The error that the sidecar gave, in gRPC's words: from its JSON where it says one, or else by its HTTP status.
fn failed(status: StatusCode, answer: &Bytes) -> Status {
    let said = detail(answer);
    let said = said.strip_prefix("error during request: ").unwrap_or(&said);
    if let Some((name, message)) = said.split_once(": ")
        && let Some(code) = named(name)
    {
        return Status::new(code, message);
    }
    let code = match status.as_u16() {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        408 | 504 => Code::DeadlineExceeded,
        409 => Code::AlreadyExists,
        429 => Code::ResourceExhausted,
        499 => Code::Cancelled,
        501 => Code::Unimplemented,
        500 => Code::Internal,
        502 | 503 => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(code, said)
}

/// What an error says: `detail` of go-micro's JSON, `message` of gRPC's, or the text.
fn detail(answer: &Bytes) -> String {
    let text = String::from_utf8_lossy(answer).trim().to_owned();
    let json: Option<Value> = serde_json::from_str(&text).ok();
    let said = json.as_ref().and_then(|json| json.get("detail").or_else(|| json.get("message"))?.as_str());
    said.map(str::to_owned).unwrap_or(text)
}
