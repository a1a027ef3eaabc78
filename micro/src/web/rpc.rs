//! `/rpc`, as the gateway and the sidecar have it: calls for programs.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::view::View;

/// `POST /rpc`; other methods are told so.
pub(super) async fn call(State(view): State<View>, request: Request) -> Response {
    if view.read_only {
        return (StatusCode::FORBIDDEN, "this dashboard is read-only\n").into_response();
    }
    view.rpc.answer(request.map(tonic::body::Body::new)).await.map(Body::new)
}
