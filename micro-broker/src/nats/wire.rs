//! Events as NATS messages: headers are NATS headers, the id is the one JetStream knows duplicates by.

use std::fmt::Write;
use std::sync::Arc;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::subject::ToSubject;
use async_nats::{HeaderMap, Message, Subject};
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};

use crate::envelope::Envelope;
use crate::envelope_json;
use crate::event::Event;
use crate::id::Id;
use crate::topic::DEAD_PREFIX;

/// What subjects begin with where an event is acknowledged; only events come with one.
pub(super) const ACK: &str = "$JS.ACK.";

/// What stands between topic and id in the id of a message, by which JetStream drops what it has seen in a stream within two
/// minutes. The topic is in it because one event may be published to several topics of a stream; of a dead letter, the topic
/// it was published to, so that its message id is no longer than the event's, which may have filled its message, and yet
/// another one.
const OF_EVENT: char = '/';
const OF_LETTER: char = '|';

/// What is sent for an event.
type Written = (Option<HeaderMap>, Bytes);

/// An event's topic as the subject it is sent to. Asked for it, a [`Subject`] gives a copy of itself, for which it has to
/// share its text first.
pub(super) struct Topic<'a>(pub(super) &'a str);

impl ToSubject for Topic<'_> {
    fn to_subject(&self) -> Subject {
        Subject::from(self.0)
    }
}

/// Writes an event where messages are no larger than `most`. A dead letter for which go-micro's JSON leaves no room
/// is written as ours, which is smaller by a quarter: its event filled a message, and would be tried for ever.
///
/// # Errors
///
/// What cannot travel: a header that is not text, as NATS has lines of UTF-8 and go-micro JSON; an id that is no line, unless
/// it is a dead letter's, which a stranger may have named.
pub(super) fn write(event: &Event, form: Envelope, most: usize) -> Result<Written, String> {
    let written = write_as(event, form)?;
    if form != Envelope::Native && event.topic.starts_with(DEAD_PREFIX) && written.1.len() > most {
        return write_as(event, Envelope::Native);
    }
    Ok(written)
}

fn write_as(event: &Event, form: Envelope) -> Result<Written, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &event.headers {
        let Ok(value) = std::str::from_utf8(value.as_bytes()) else {
            return Err(format!("an event: header {name} is not text in UTF-8, and nothing else can travel"));
        };
        if form == Envelope::Native {
            headers.append(name.as_str(), value);
        }
    }
    if form != Envelope::Native {
        return Ok((None, envelope_json::write(event, form)));
    }
    // Headers are lines, and trimmed at the end.
    let other = event.id.fitted(|id| id.trim_end() == id && !id.contains(['\r', '\n']));
    if other.is_some() && !event.topic.starts_with(DEAD_PREFIX) {
        return Err(format!("an event: its id {:?} can be no header", event.id.to_string()));
    }
    let (topic, between) = scope(&event.topic);
    let mut id = String::with_capacity(topic.len() + 33);
    id.push_str(topic);
    id.push(between);
    // Writing to a string cannot fail.
    let _ = write!(id, "{}", other.as_ref().unwrap_or(&event.id));
    headers.insert(NATS_MESSAGE_ID, id);
    Ok((Some(headers), event.body.clone()))
}

/// What stands before the id in the message id of an event of `topic`.
fn scope(topic: &str) -> (&str, char) {
    topic.strip_prefix(DEAD_PREFIX).map_or((topic, OF_EVENT), |first| (first, OF_LETTER))
}

/// Reads the events of one subscription, most of which have the topic of the one before.
#[derive(Debug)]
pub(super) struct Reader {
    topic: Arc<str>,
}

impl Reader {
    pub(super) fn new(topic: &Arc<str>) -> Self {
        // Not the one its publisher may have in hand: two threads would write to its count for every event.
        Self { topic: Arc::from(&**topic) }
    }

    /// The event in a message, whoever sent it: of ours, of go-micro, or plain.
    pub(super) fn read(&mut self, message: Message) -> Event {
        if *self.topic != *message.subject {
            self.topic = Arc::from(&*message.subject);
        }
        let Some(headers) = &message.headers else {
            if looks_like_json(&message.payload)
                && let Ok(event) = envelope_json::read(&message.payload, Some(&message.subject))
            {
                return event;
            }
            return Event::new(self.topic.clone(), message.payload);
        };
        let (mut id, mut kept) = (None, http::HeaderMap::new());
        for (name, values) in headers.iter() {
            let name: &str = name.as_ref();
            if name.eq_ignore_ascii_case(NATS_MESSAGE_ID.as_ref()) {
                id = values.first();
            } else if !name.starts_with("Nats-")
                && let Ok(name) = HeaderName::try_from(name)
            {
                for value in values.iter().filter_map(|value| HeaderValue::from_str(value.as_str()).ok()) {
                    kept.append(&name, value);
                }
            }
        }
        let id = id.map_or_else(Id::random, |id| {
            let id = id.as_str();
            let (topic, between) = scope(&self.topic);
            let own = id.strip_prefix(topic).and_then(|rest| rest.strip_prefix(between));
            Id::from(own.unwrap_or(id))
        });
        Event { topic: self.topic.clone(), id, headers: kept, body: message.payload, attempt: 0 }
    }
}

/// Whether a payload without headers of ours looks like go-micro's JSON.
fn looks_like_json(payload: &[u8]) -> bool {
    payload.starts_with(b"{\"Header\":") || payload.starts_with(b"{\"Body\":")
}
