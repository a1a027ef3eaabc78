//! `/health`: whether the app is well.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::check::Unwell;
use super::state::Inner;

/// 200 while the app is well, or where there is none; what it answered, or 500, while it is not.
pub(super) async fn health(State(inner): State<Arc<Inner>>) -> Response {
    let Some(app) = &inner.app else { return StatusCode::OK.into_response() };
    match app.ask().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(unwell @ Unwell::Status(status)) => {
            // What is no failure to HTTP is one here: it was not 200.
            let status = if status.as_u16() >= 400 { status } else { StatusCode::SERVICE_UNAVAILABLE };
            (status, unwell.to_string()).into_response()
        }
        Err(unwell) => (StatusCode::INTERNAL_SERVER_ERROR, unwell.to_string()).into_response(),
    }
}
