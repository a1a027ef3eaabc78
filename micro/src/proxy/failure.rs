//! What a client is told when a service gave no answer.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use micro_balance::{BrokenBody, cause};
use micro_tower::status;
use micro_tower::transport::{OverShare, TooSlow};
use tonic::Status;
use tonic::body::Body;
use tower::BoxError;

use super::fault::Fault;
use super::whole::Unread;
use crate::causes::chain;

/// A service did not begin its answer in time.
#[derive(Debug, thiserror::Error)]
#[error("service {service} did not begin its answer within {within:?}")]
pub(super) struct Late {
    pub(super) service: Arc<str>,
    pub(super) within: Duration,
}

/// The answer to a request that failed with `error`: of gRPC a status, else an error of the face `id`.
///
/// 503 where nobody was there to take it, 504 where time ran out, 502 where somebody was there and gave no answer, and
/// where it was the request's own fault 400 if it broke off, 408 if it came too slowly and 429 if its client had more than his
/// share.
pub fn answer_failure(id: &'static str, error: BoxError, grpc: bool) -> Response<Body> {
    tracing::debug!(error = chain(error.as_ref()), "a request got no answer");
    if grpc {
        return grpc_status(error).into_http();
    }
    Fault::new(id, http_status(error.as_ref()), chain(error.as_ref())).response()
}

/// What a gRPC call that failed with `error` is told.
pub(super) fn grpc_status(error: BoxError) -> Status {
    match cause::<OverShare>(error.as_ref()) {
        Some(over) => Status::resource_exhausted(over.to_string()),
        None => status::grpc(error),
    }
}

fn http_status(error: &(dyn Error + 'static)) -> StatusCode {
    if cause::<TooSlow>(error).is_some() {
        return StatusCode::REQUEST_TIMEOUT;
    }
    if cause::<OverShare>(error).is_some() {
        return StatusCode::TOO_MANY_REQUESTS;
    }
    if cause::<BrokenBody>(error).is_some() {
        return StatusCode::BAD_REQUEST;
    }
    if let Some(unread) = cause::<Unread>(error) {
        return unread.status();
    }
    if error.is::<Late>() {
        return StatusCode::GATEWAY_TIMEOUT;
    }
    match status::http(error) {
        StatusCode::INTERNAL_SERVER_ERROR => StatusCode::BAD_GATEWAY,
        status => status,
    }
}
