//! Which JetStream stream holds a topic, and what its consumers are called.

use std::collections::HashMap;
use std::sync::Mutex;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamByNameErrorKind};
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};

use crate::error::Error;
use crate::topic;

/// The streams known so far, by the first word of the topics they hold.
#[derive(Debug, Default)]
pub(super) struct Streams {
    only: Option<String>,
    known: Mutex<HashMap<String, String>>,
}

impl Streams {
    /// Every topic is in this one stream, which somebody else made.
    pub(super) fn only(stream: &str) -> Self {
        Self { only: Some(stream.to_owned()), known: Mutex::default() }
    }

    /// Whether a topic's stream is known to exist.
    pub(super) fn is_known(&self, topic: &str) -> bool {
        self.only.is_some() || self.known().contains_key(root(topic))
    }

    /// Forgets a topic's stream, because the server does not know it.
    pub(super) fn forget(&self, topic: &str) {
        self.known().remove(root(topic));
    }

    /// The stream that holds a topic, or all topics of a pattern. One is made where there is none: it holds every
    /// topic with the same first word, on disk, and drops what every consumer has acknowledged.
    pub(super) async fn find(&self, context: &Context, pattern: &str) -> Result<String, Error> {
        if let Some(stream) = &self.only {
            return Ok(stream.clone());
        }
        let root = root(pattern);
        if let Some(stream) = self.known().get(root) {
            return Ok(stream.clone());
        }
        let stream = match context.stream_by_subject(pattern).await {
            Ok(stream) => stream,
            Err(error) if error.kind() != GetStreamByNameErrorKind::NotFound => {
                return Err(unavailable(error));
            }
            Err(_) if topic::has_wildcard(root) => {
                let what = format!(
                    "topic {pattern:?}: it is in no stream yet, and its first word must say which to make"
                );
                return Err(Error::Invalid { backend: super::jetstream::BACKEND, what });
            }
            Err(_) => {
                let config = Config {
                    name: name(root),
                    subjects: vec![root.to_owned(), format!("{root}.>")],
                    retention: RetentionPolicy::Interest,
                    storage: StorageType::File,
                    ..Config::default()
                };
                let made = context.create_stream(config).await.map_err(|error| match error.kind() {
                    // It overlaps with another, or the server's limits forbid it: the next attempt would fare alike.
                    CreateStreamErrorKind::JetStream(fault) if fault.code() == 400 => {
                        let what = format!("topic {pattern:?}: no stream can be made for it: {error}");
                        Error::Invalid { backend: super::jetstream::BACKEND, what }
                    }
                    _ => unavailable(error),
                })?;
                made.cached_info().config.name.clone()
            }
        };
        if !topic::has_wildcard(root) {
            self.known().insert(root.to_owned(), stream.clone());
        }
        Ok(stream)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.known.lock().expect("no user code runs under this lock")
    }
}

fn unavailable(source: impl Into<tower::BoxError>) -> Error {
    Error::Unavailable { backend: super::jetstream::BACKEND, source: source.into() }
}

fn root(topic: &str) -> &str {
    topic.split('.').next().unwrap_or(topic)
}

/// The consumer of a group on a topic: groups of one name on different topics are different groups.
pub(super) fn consumer(topic: &str, group: &str) -> String {
    name(&format!("{group} {topic}"))
}

/// Any text as a name JetStream allows. What it does not allow becomes `_`, and then a hash keeps names apart.
fn name(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':');
    let mut name: String = text.chars().take(200).map(|c| if allowed(c) { c } else { '_' }).collect();
    if name != text {
        // FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>: the same in every process and version.
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        name += &format!("-{hash:016x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_legal_stable_and_distinct() {
        assert_eq!(name("orders"), "orders");
        assert_eq!(consumer("orders.*", "billing"), consumer("orders.*", "billing"));
        assert_ne!(consumer("orders.*", "billing"), consumer("orders.>", "billing"));
        let long = consumer(&"a.".repeat(300), "g/h\\i j");
        assert!(
            long.len() < 255 && long.chars().all(|c| c.is_ascii_alphanumeric() || "-_:".contains(c)),
            "{long}"
        );
    }
}
