//! The sidecar itself.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use micro_discover::{Address, Service};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tower::BoxError;

use super::http::{Http, escaped};
use super::record;
use crate::causes::chain;

/// A sidecar, by its address. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Sidecar {
    http: Http,
}

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

    /// Calls `method` of `service`, or of the server at `address`, with a request in JSON.
    ///
    /// # Errors
    ///
    /// The status it answers with.
    pub async fn call(
        &self,
        service: &str,
        method: &str,
        address: Option<&str>,
        headers: HeaderMap,
        request: Bytes,
        limit: Duration,
    ) -> Result<Value, Status> {
        let request: Value =
            serde_json::from_slice(&request).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut body = json!({"service": service, "method": method, "endpoint": method, "request": request});
        if let Some(address) = address {
            body["address"] = address.into();
        }
        let (status, answer) = self
            .send(Method::POST, "/rpc", headers, &body, limit)
            .await
            .map_err(|e| Status::unavailable(chain(&*e)))?;
        if !status.is_success() {
            return Err(failed(status, &answer));
        }
        serde_json::from_slice(&answer).map_err(|error| Status::internal(format!("not JSON: {error}")))
    }

    /// Publishes `body` to `topic`.
    pub(super) async fn publish(
        &self,
        topic: &str,
        headers: HeaderMap,
        body: Bytes,
        limit: Duration,
    ) -> Result<(), BoxError> {
        let path = format!("/broker?topic={}", escaped(topic));
        let (status, answer) = self.http.send(Method::POST, &path, headers, body, limit).await?;
        done(status, &answer)
    }

    /// The names of all services.
    pub(super) async fn names(&self) -> Result<Vec<String>, BoxError> {
        let (status, answer) = self.get("/registry").await?;
        done(status, &answer)?;
        let each: Vec<Value> = serde_json::from_slice(&answer)?;
        // Some list the records, some their names.
        let name = |each: Value| match each {
            Value::String(name) => Some(name),
            other => Some(other.get("name")?.as_str()?.to_owned()),
        };
        Ok(each.into_iter().filter_map(name).collect())
    }

    /// The records of one service.
    pub(super) async fn records(&self, name: &str) -> Result<Vec<Service>, BoxError> {
        let (status, answer) = self.get(&format!("/registry?service={}", escaped(name))).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        done(status, &answer)?;
        let records: Vec<Value> = serde_json::from_slice(&answer)?;
        records.into_iter().map(record::read).collect()
    }

    /// Puts a record, for `ttl`, or for ever if that is zero.
    pub(super) async fn put(&self, service: &Service, ttl: Duration) -> Result<(), BoxError> {
        let path = match ttl.as_secs() {
            0 => "/registry".to_owned(),
            seconds => format!("/registry?ttl={seconds}s"),
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
    if status.is_success() {
        return Ok(());
    }
    Err(format!("the sidecar answers {status}: {}", detail(answer)).into())
}

/// The error that the sidecar gave, in gRPC's words: from its JSON where it says one, or else by its HTTP status.
fn failed(status: StatusCode, answer: &Bytes) -> Status {
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
    Status::new(code, detail(answer))
}

/// What an error says: `detail` of go-micro's JSON, `message` of gRPC's, or the text.
fn detail(answer: &Bytes) -> String {
    let text = String::from_utf8_lossy(answer).trim().to_owned();
    let json: Option<Value> = serde_json::from_str(&text).ok();
    let said = json.as_ref().and_then(|json| json.get("detail").or_else(|| json.get("message"))?.as_str());
    said.map(str::to_owned).unwrap_or(text)
}
