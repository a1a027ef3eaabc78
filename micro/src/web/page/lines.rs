//! Answers in lines of text, as they come.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header;
use tokio::sync::mpsc;

/// What comes out of `receiver`, until nobody sends any more.
pub(super) fn lines(receiver: mpsc::Receiver<String>) -> Response {
    let text = stream::unfold(receiver, |mut receiver| async {
        let line = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Bytes::from(line)), receiver))
    });
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(text)).into_response()
}
