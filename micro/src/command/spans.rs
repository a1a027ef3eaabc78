//! Spans of the requests that pass through a face, where the environment wants them.

use std::time::Duration;

use super::failure::{Failure, Kind};
use crate::otel::Spans;

/// How long the last ones may take to be sent.
const SEND_WITHIN: Duration = Duration::from_secs(5);

/// What makes them, where the environment says so.
pub(super) fn spans() -> Result<Option<Spans>, Failure> {
    Spans::from_environment().map_err(|error| {
        Failure::new(Kind::Config, error.to_string())
            .source(error)
            .hint("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 OTEL_EXPORTER_OTLP_PROTOCOL=grpc")
    })
}

/// Sends what was not sent yet.
pub(super) async fn close(spans: Option<Spans>) {
    if let Some(spans) = spans {
        spans.close(SEND_WITHIN).await;
    }
}
