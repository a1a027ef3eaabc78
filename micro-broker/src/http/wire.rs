//! Events as HTTP requests: headers are the request's headers, the body is the body; or go-micro's JSON.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request};
use http_body_util::Full;
use tower::BoxError;

use crate::envelope::Envelope;
use crate::envelope_json;
use crate::event::Event;
use crate::http::directory::Target;
use crate::id::Id;

const TOPIC: HeaderName = HeaderName::from_static("micro-topic");
const ID: HeaderName = HeaderName::from_static("micro-id");
const ATTEMPT: HeaderName = HeaderName::from_static("micro-attempt");
/// In an answer: how many milliseconds the event is to wait before it comes again.
pub(super) const AGAIN: HeaderName = HeaderName::from_static("micro-again-after");

/// Headers of the connection, not of the event.
const HOP: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "proxy-connection",
];

/// The request that posts an event; `None` when the address or the event makes none.
pub(super) fn request(target: &Target, event: &Event) -> Option<Request<Full<Bytes>>> {
    let path = if target.envelope == Envelope::GoMicroV0 { "/_sub" } else { "/" };
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{}{path}?id={}", target.authority, target.id))
        .header(ATTEMPT, event.attempt);
    if target.envelope == Envelope::Native {
        let mut request = request
            .header(TOPIC, &*event.topic)
            .header(ID, event.id.to_string())
            .body(Full::new(event.body.clone()))
            .ok()?;
        for (name, value) in event.headers.iter().filter(|(name, _)| !HOP.contains(&name.as_str())) {
            request.headers_mut().append(name, value.clone());
        }
        return Some(request);
    }
    let body = Full::new(envelope_json::write(event, target.envelope));
    request.header(http::header::CONTENT_TYPE, "application/json").body(body).ok()
}

/// The event in a request, whoever sent it. A sender that does not count attempts delivers for the first time.
pub(super) fn read(parts: Parts, body: Bytes) -> Result<Event, BoxError> {
    let mut headers = parts.headers;
    let attempt =
        headers.remove(ATTEMPT).and_then(|attempt| attempt.to_str().ok()?.parse().ok()).unwrap_or(1);
    let mut event = match headers.remove(TOPIC) {
        None => envelope_json::read(&body, None)?,
        Some(topic) => {
            let mut event = Event::new(std::str::from_utf8(topic.as_bytes())?, body);
            if let Some(id) = headers.remove(ID) {
                event.id = Id::from(std::str::from_utf8(id.as_bytes())?);
            }
            HOP.iter().for_each(|name| drop(headers.remove(*name)));
            event.headers = headers;
            event
        }
    };
    event.attempt = attempt;
    Ok(event)
}

pub(super) fn again_after(headers: &HeaderMap) -> Duration {
    let millis = headers.get(AGAIN).and_then(|after| after.to_str().ok()?.parse().ok());
    Duration::from_millis(millis.unwrap_or(100))
}

pub(super) fn again_header(after: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
}
