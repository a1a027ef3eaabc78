//! Answers that go on for as long as somebody has a page open, and how many of them there may be.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use http_body_util::BodyExt;

use super::view::View;
use crate::places::{Full, Places};
use crate::proxy::Peer;

/// How many there may be at a time: each has its page made anew each second.
const MOST: usize = 256;
/// How many of them may be of one address. Behind a proxy all are of one.
const EACH: usize = 128;
/// In how many seconds it is worth to ask again.
const AGAIN: &str = "10";

/// The streams there may be.
pub(super) fn places() -> Places {
    Places::new(MOST, EACH)
}

/// Lets a request through if there is a place for its answer, which has that until it ends or nobody wants it any more.
pub(super) async fn limit(State(view): State<View>, request: Request, next: Next) -> Response {
    let address = Peer::of(request.extensions()).address.map(|address| address.ip());
    match view.streams.take(address) {
        Ok(place) => next.run(request).await.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _held = &place;
                frame
            }))
        }),
        Err(full) => refused(full),
    }
}

fn refused(full: Full) -> Response {
    let (status, why) = match full {
        Full::Own => (StatusCode::TOO_MANY_REQUESTS, format!("{EACH} pages at this address")),
        Full::All => (StatusCode::SERVICE_UNAVAILABLE, format!("{MOST} pages")),
    };
    let why = format!("{why} follow the dashboard already: close some, or try again later\n");
    (status, [(header::RETRY_AFTER, AGAIN)], why).into_response()
}
