//! gRPC's errors as HTTP and JSON.

use std::sync::OnceLock;

use http::{HeaderValue, Response, StatusCode, header};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use prost_types::Any;
use serde_json::{Map, Value, json};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::schema::Json;

/// The HTTP status of a gRPC code, as grpc-gateway has it.
pub fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An error as JSON: `{"code":5,"status":"NOT_FOUND","message":"…","details":[…]}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    code: Code,
    json: Value,
}

impl Problem {
    /// What `status` says. Details of types that `pool` knows, or that are Google's own, are written out.
    pub fn new(status: &Status, pool: Option<&DescriptorPool>) -> Self {
        let details = Rich::decode(status.details()).map(|rich| rich.details).unwrap_or_default();
        let details: Vec<_> = details.iter().map(|detail| written(detail, pool)).collect();
        let json = json!({
            "code": status.code() as i32,
            "status": crate::codes::name(status.code()),
            "message": status.message(),
            "details": details,
        });
        Self { code: status.code(), json }
    }

    /// It as JSON.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// The answer that says it.
    pub fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::new(self.json.to_string()));
        *response.status_mut() = http_status(self.code);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// `google.rpc.Status`, as far as it is not said elsewhere.
#[derive(Clone, PartialEq, Message)]
struct Rich {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

fn written(detail: &Any, pool: Option<&DescriptorPool>) -> Value {
    let name = detail.type_url.rsplit('/').next().unwrap_or_default();
    let descriptor =
        [pool, Some(known())].into_iter().flatten().find_map(|pool| pool.get_message_by_name(name));
    let message =
        descriptor.and_then(|descriptor| DynamicMessage::decode(descriptor, detail.value.as_slice()).ok());
    let text = message.and_then(|message| Json::new().write(&message).ok());
    let mut object = match text.and_then(|text| serde_json::from_str(&text).ok()) {
        Some(Value::Object(object)) => object,
        Some(other) => Map::from_iter([("value".to_owned(), other)]),
        None => {
            use base64::Engine as _;
            let value = base64::prelude::BASE64_STANDARD.encode(&detail.value);
            Map::from_iter([("value".to_owned(), Value::from(value))])
        }
    };
    object.insert("@type".to_owned(), Value::from(detail.type_url.as_str()));
    Value::Object(object)
}

/// The types of `google/rpc/error_details.proto`.
fn known() -> &'static DescriptorPool {
    static KNOWN: OnceLock<DescriptorPool> = OnceLock::new();
    KNOWN.get_or_init(|| DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    #[test]
    fn details_are_written_out() {
        let details = ErrorDetails::with_bad_request_violation("name", "too long");
        let status = Status::with_error_details(Code::InvalidArgument, "no", details);
        let problem = Problem::new(&status, None);
        let expected = json!({"code": 3, "status": "INVALID_ARGUMENT", "message": "no", "details": [{
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "name", "description": "too long"}],
        }]});
        assert_eq!(problem.json(), &expected);
        assert_eq!(problem.response().status(), 400);
    }
}
