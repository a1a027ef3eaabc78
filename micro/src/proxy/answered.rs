//! What a client hears: the answer of a service, or why there is none.

use std::time::Duration;

use http::{Response, StatusCode, Version};
use micro_tower::client;
use micro_tower::transport::Rate;
use tonic::body::Body;
use tower::BoxError;

use super::body::Forwarded;
use super::failure::{Late, answer_failure};
use super::fault::Fault;
use super::headers::clean_response;
use super::meter::Active;

/// Makes an answer of a service one of ours.
pub(super) fn answered(
    response: Response<client::ResponseBody>,
    grpc: bool,
    mut active: Active,
    rate: Option<Rate>,
    id: &'static str,
) -> Response<Body> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let detail = "the service switched protocols, and was not asked to";
        let response = Fault::new(id, StatusCode::BAD_GATEWAY, detail).response();
        active.answered(response.status(), response.headers());
        return response;
    }
    let (mut head, body) = response.into_parts();
    let body = match Forwarded::new(body, grpc) {
        Ok(body) => body,
        Err(error) => return failed(error, grpc, &mut active, id),
    };
    active.answered(head.status, &head.headers);
    clean_response(&mut head.headers);
    // What the client hears is ours: it may keep a connection that the service's HTTP/1.0 would have closed.
    head.version = Version::HTTP_11;
    Response::from_parts(head, Body::new(body.of(active, rate)))
}

/// No answer of its service `within` such a time.
pub(super) fn late(active: &Active, within: Duration) -> BoxError {
    Late { service: active.service().clone(), within }.into()
}

/// What the client hears where there is no answer of a service.
pub(super) fn failed(error: BoxError, grpc: bool, active: &mut Active, id: &'static str) -> Response<Body> {
    let response = answer_failure(id, error, grpc);
    active.answered(response.status(), response.headers());
    response
}
