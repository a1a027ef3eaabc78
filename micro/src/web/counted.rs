//! `/stats`: how many requests to the dashboard ended how, as the gateway says it of its own.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use tokio_util::task::AbortOnDropHandle;

use super::view::View;
use crate::api::{Stats, answer_stats};

/// What is counted, while anybody has it.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    stats: Stats,
    _counting: Arc<AbortOnDropHandle<()>>,
}

impl Counted {
    /// Starts to count.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, as [`tokio::spawn`] does.
    pub(super) fn start() -> Self {
        let stats = Stats::default();
        let counting = tokio::spawn(stats.clone().run());
        Self { stats, _counting: Arc::new(AbortOnDropHandle::new(counting)) }
    }
}

/// Counts the answer to a request.
pub(super) async fn count(State(view): State<View>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    view.counted.stats.count(response.status());
    response
}

/// `GET /stats`.
pub(super) async fn get(State(view): State<View>, headers: HeaderMap) -> Response {
    answer_stats(&view.counted.stats, &headers).map(Body::new)
}
