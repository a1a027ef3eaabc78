//! An event as it waits in a queue of this process.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use crate::event::Event;
use crate::id::Id;

/// Half as large as an [`Event`], whose headers are half of it and mostly empty: all of it goes from the cache of one
/// processor to that of another.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) topic: Arc<str>,
    id: Id,
    pub(crate) body: Bytes,
    headers: Option<Box<HeaderMap>>,
    pub(crate) attempt: u32,
}

impl From<Event> for Queued {
    #[inline]
    fn from(event: Event) -> Self {
        let Event { topic, id, headers, body, attempt } = event;
        let headers = (!headers.is_empty()).then(|| Box::new(headers));
        Self { topic, id, body, headers, attempt }
    }
}

impl From<Queued> for Event {
    #[inline]
    fn from(queued: Queued) -> Self {
        let Queued { topic, id, body, headers, attempt } = queued;
        let headers = headers.map_or_else(HeaderMap::new, |headers| *headers);
        Self { topic, id, headers, body, attempt }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::event::REQUEST_ID;

    #[test]
    fn an_event_comes_out_of_a_queue_as_it_went_in() {
        let mut event = Event::new("orders.created", "7").header(REQUEST_ID, HeaderValue::from_static("r1"));
        event.attempt = 3;
        for event in [event, Event::new("t", "")] {
            let out = Event::from(Queued::from(event.clone()));
            assert_eq!((&out.topic, &out.id, &out.body), (&event.topic, &event.id, &event.body));
            assert_eq!((&out.headers, out.attempt), (&event.headers, event.attempt));
        }
        assert!(size_of::<Queued>() * 2 <= size_of::<Event>());
    }
}
