//! Events as AMQP messages: headers are the headers table, the id is the message id, the body is the body.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use lapin::{Acker, BasicProperties};

use crate::delivery::DEAD_REASON;
use crate::envelope::{self, Envelope};
use crate::event::Event;
use crate::id::Id;
use crate::rabbitmq::topology;

/// Survives a restart of the server.
const PERSISTENT: u8 = 2;
/// Holds an id that is longer than the message id may be.
const LONG_ID: &str = "micro-id";

/// What is sent beside an event's body.
pub(super) fn properties(event: &Event, form: Envelope) -> BasicProperties {
    let mut table = FieldTable::default();
    let id = event.id.to_string();
    if form == Envelope::Native {
        for name in event.headers.keys() {
            let mut values: Vec<_> = event.headers.get_all(name).iter().map(value_of).collect();
            let value = match values.len() {
                1 => values.remove(0),
                _ => AMQPValue::FieldArray(FieldArray::from(values)),
            };
            table.insert(name.as_str().into(), value);
        }
        if id.len() > 255 {
            table.insert(LONG_ID.into(), AMQPValue::LongString(id.as_str().into()));
        }
    } else {
        for (name, value) in envelope::names(event, form) {
            table.insert(name.into(), AMQPValue::LongString(value.into()));
        }
    }
    let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    if !table.inner().is_empty() {
        properties = properties.with_headers(table);
    }
    if id.len() > 255 { properties } else { properties.with_message_id(id.into()) }
}

fn value_of(value: &HeaderValue) -> AMQPValue {
    AMQPValue::LongString(value.as_bytes().into())
}

/// Reads the events of one queue, most of which have the topic of the one before.
#[derive(Debug)]
pub(super) struct Reader {
    topic: Arc<str>,
    /// Whether the queue counts deliveries; another one knows only that there was an earlier one.
    counts: bool,
}

impl Reader {
    pub(super) fn new(topic: &Arc<str>, counts: bool) -> Self {
        Self { topic: topic.clone(), counts }
    }

    /// The event in a message, whoever sent it, of ours, of go-micro, or plain; and where to acknowledge it.
    pub(super) fn read(&mut self, delivery: Delivery) -> (Event, Acker) {
        let Delivery { exchange, routing_key, redelivered, properties, data, acker, .. } = delivery;
        self.topic = topology::topic(exchange.as_str(), routing_key.as_str(), &self.topic);
        let id = properties.message_id().as_ref().map_or_else(Id::random, |id| Id::from(id.as_str()));
        let (topic, body) = (self.topic.clone(), data.into());
        let mut event = Event { topic, id, headers: HeaderMap::new(), body, attempt: 0 };
        let mut earlier = None;
        if let Some(table) = properties.headers().as_ref().map(FieldTable::inner) {
            earlier = table.get("x-delivery-count").and_then(number);
            if table.keys().any(|name| matches!(name.as_str(), "Micro-Topic" | ":topic")) {
                read_go_micro(table, &mut event);
            } else {
                read_headers(table, &mut event);
            }
        }
        event.attempt = match earlier {
            Some(earlier) if self.counts => earlier.saturating_add(1),
            _ => 1 + u32::from(redelivered),
        };
        (event, acker)
    }
}

fn read_go_micro(table: &BTreeMap<ShortString, AMQPValue>, event: &mut Event) {
    let names =
        table.iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?))).collect();
    if let Some(read) = envelope::from_names(names, event.body.clone(), Some(&event.topic)) {
        // The topic stays where the event came from: a dead letter's headers name its first topic.
        event.headers = read.headers;
        if table.keys().any(|name| name.as_str().eq_ignore_ascii_case("micro-id")) {
            event.id = read.id;
        }
    }
}

fn read_headers(table: &BTreeMap<ShortString, AMQPValue>, event: &mut Event) {
    for (name, value) in table {
        match (name.as_str(), value) {
            ("x-first-death-reason", reason) if !table.contains_key(DEAD_REASON.as_str()) => {
                add(&mut event.headers, DEAD_REASON.as_str(), reason);
            }
            // The server's own: how it delivered, and where a dead letter has been.
            ("x-delivery-count" | "x-death", _) => {}
            (name, _) if name.starts_with("x-first-death") => {}
            (LONG_ID, id) => event.id = text(id).map_or_else(|| event.id.clone(), Id::from),
            (name, AMQPValue::FieldArray(values)) => {
                values.as_slice().iter().for_each(|value| add(&mut event.headers, name, value));
            }
            (name, value) => add(&mut event.headers, name, value),
        }
    }
}

fn add(headers: &mut HeaderMap, name: &str, value: &AMQPValue) {
    let value = match value {
        AMQPValue::LongString(text) => HeaderValue::from_bytes(text.as_bytes()).ok(),
        AMQPValue::ShortString(text) => HeaderValue::from_str(text.as_str()).ok(),
        other => number(other).map(HeaderValue::from),
    };
    if let (Ok(name), Some(value)) = (HeaderName::try_from(name), value) {
        headers.append(name, value);
    }
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

fn number(value: &AMQPValue) -> Option<u32> {
    match *value {
        AMQPValue::LongLongInt(number) => number.try_into().ok(),
        AMQPValue::LongInt(number) => number.try_into().ok(),
        AMQPValue::LongUInt(number) => Some(number),
        AMQPValue::ShortInt(number) => number.try_into().ok(),
        AMQPValue::ShortUInt(number) => Some(number.into()),
        AMQPValue::ShortShortInt(number) => number.try_into().ok(),
        AMQPValue::ShortShortUInt(number) => Some(number.into()),
        _ => None,
    }
}
