//! What a client is told when a service gave no answer.

use std::error::Error;
use std::iter::successors;
use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use micro_tower::status;
use tonic::body::Body;
use tower::BoxError;

use super::fault::Fault;
use crate::causes::chain;

/// A service did not begin its answer in time.
#[derive(Debug, thiserror::Error)]
#[error("service {service} did not begin its answer within {within:?}")]
pub(super) struct Late {
    pub(super) service: Arc<str>,
    pub(super) within: Duration,
}

/// What the client sent could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("the body of the request broke off")]
pub(super) struct BrokenRequest(#[source] pub(super) tonic::Status);

/// The answer to a request that failed with `error`: of gRPC a status, else an error of the face `id`.
///
/// 503 where nobody was there to take it, 504 where time ran out, 502 where somebody was there and gave no answer, and
/// 400 where the request itself broke off.
pub fn answer_failure(id: &'static str, error: BoxError, grpc: bool) -> Response<Body> {
    tracing::debug!(error = chain(error.as_ref()), "a request got no answer");
    if grpc {
        return status::grpc(error).into_http();
    }
    Fault::new(id, http_status(error.as_ref()), chain(error.as_ref())).response()
}

fn http_status(error: &(dyn Error + 'static)) -> StatusCode {
    if causes(error).any(|cause| cause.is::<BrokenRequest>()) {
        return StatusCode::BAD_REQUEST;
    }
    if error.is::<Late>() {
        return StatusCode::GATEWAY_TIMEOUT;
    }
    match status::http(error) {
        StatusCode::INTERNAL_SERVER_ERROR => StatusCode::BAD_GATEWAY,
        status => status,
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}
