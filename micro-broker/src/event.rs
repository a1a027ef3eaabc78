//! What happened: an [`Event`] on a topic, and the headers that travel with it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::id::Id;

/// Header: the id of the request an event belongs to.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Header: W3C trace context, <https://www.w3.org/TR/trace-context/>.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Header: W3C trace state, beside [`TRACEPARENT`].
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Header: when the event stops being worth handling, in milliseconds since the Unix epoch.
pub const DEADLINE: HeaderName = HeaderName::from_static("micro-deadline");

/// Something that happened, as it is published and as a handler receives it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// Where it happened: words joined by dots, such as `orders.created`.
    pub topic: Arc<str>,
    /// Which event this is; the same on every redelivery.
    pub id: Id,
    /// What travels beside the body.
    pub headers: HeaderMap,
    /// What happened.
    pub body: Bytes,
    /// Which delivery of the event this is, counted from 1; 0 before it is delivered. It does not travel.
    pub attempt: u32,
}

impl Event {
    /// An event with a fresh id and no headers.
    pub fn new(topic: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        let (topic, body) = (topic.into(), body.into());
        Self { topic, id: Id::random(), headers: HeaderMap::new(), body, attempt: 0 }
    }

    /// Names the event, so that publishing it again is recognised as the same event.
    #[must_use]
    pub fn id(mut self, id: impl Into<Id>) -> Self {
        self.id = id.into();
        self
    }

    /// Adds a header, replacing one of the same name.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Says when the event stops being worth handling, to the millisecond. It travels as a wall-clock time, because
    /// an event may lie in a queue longer than any process lives; publisher and handlers need synchronised clocks.
    #[must_use]
    pub fn deadline(self, at: SystemTime) -> Self {
        let millis = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.header(DEADLINE, HeaderValue::from(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    /// What is left until the deadline at `now`: zero once it has passed, `None` when there is none.
    pub fn remaining(&self, now: SystemTime) -> Option<Duration> {
        let millis = self.headers.get(DEADLINE)?.to_str().ok()?.parse().ok()?;
        let at = UNIX_EPOCH.checked_add(Duration::from_millis(millis))?;
        Some(at.duration_since(now).unwrap_or_default())
    }

    /// Carries on what caused this event: request id, trace context and deadline are copied from the headers of the
    /// request or event being handled, where this event has none of its own.
    #[must_use]
    pub fn caused_by(mut self, cause: &HeaderMap) -> Self {
        for name in [REQUEST_ID, TRACEPARENT, TRACESTATE, DEADLINE] {
            if let (Some(value), false) = (cause.get(&name), self.headers.contains_key(&name)) {
                self.headers.insert(name, value.clone());
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_caused_an_event_travels_with_it() {
        let at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let cause = Event::new("orders.created", "").deadline(at).header(REQUEST_ID, "r1".parse().unwrap());
        let event = Event::new("stock.reserved", "").caused_by(&cause.headers);
        assert_eq!(event.headers[REQUEST_ID], "r1");
        assert_eq!(event.remaining(at - Duration::from_millis(7)), Some(Duration::from_millis(7)));
        assert_eq!(event.remaining(at + Duration::from_secs(1)), Some(Duration::ZERO));
        assert_eq!(Event::new("t", "").remaining(at), None);
    }
}
