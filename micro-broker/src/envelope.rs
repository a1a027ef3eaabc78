//! go-micro's envelopes: which headers its brokers send beside a body.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::event::Event;
use crate::id::Id;

/// How events are written on the wire. Every form is read, whichever is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Envelope {
    /// Ours: headers are the wire's own headers, the body is the payload.
    #[default]
    Native,
    /// go-micro v1.0 to v6: JSON with `Micro-Topic` and `Micro-ID` among its headers.
    GoMicro,
    /// go-micro before v1.0: JSON with `:topic` among its headers, and no id.
    GoMicroV0,
}

impl std::str::FromStr for Envelope {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "native" => Ok(Self::Native),
            "go-micro" => Ok(Self::GoMicro),
            "go-micro-v0" => Ok(Self::GoMicroV0),
            _ => Err(format!("envelope {name:?}: it is native, go-micro or go-micro-v0")),
        }
    }
}

/// The headers go-micro expects, in the case it looks them up in.
pub(crate) fn names(event: &Event, envelope: Envelope) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for name in event.headers.keys() {
        let values = event.headers.get_all(name).iter();
        let values: Vec<_> = values.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok()).collect();
        if !values.is_empty() {
            names.insert(canonical(name.as_str()), values.join(", "));
        }
    }
    if envelope == Envelope::GoMicroV0 {
        names.insert(":topic".to_owned(), event.topic.to_string());
    } else {
        names.insert("Micro-Topic".to_owned(), event.topic.to_string());
        names.insert("Micro-ID".to_owned(), event.id.to_string());
    }
    names
}

/// The event in go-micro's headers; `None` when neither they nor `topic` name a topic.
pub(crate) fn from_names(names: BTreeMap<String, String>, body: Bytes, topic: Option<&str>) -> Option<Event> {
    let (mut headers, mut id, mut found) = (HeaderMap::new(), None, topic.map(ToOwned::to_owned));
    for (name, value) in names {
        match name.to_ascii_lowercase().as_str() {
            ":topic" | "micro-topic" => found = Some(value),
            "micro-id" => id = Some(Id::from(value)),
            name => {
                if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                    headers.append(name, value);
                }
            }
        }
    }
    let mut event = Event::new(found?, body);
    event.headers = headers;
    event.id = id.unwrap_or(event.id);
    Some(event)
}

/// `x-request-id` as `X-Request-Id`: Go's canonical form.
fn canonical(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}
