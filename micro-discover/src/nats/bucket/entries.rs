//! The entries of a bucket as endpoints: what they are now, and then each change.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use async_nats::jetstream::kv::Store;
use async_nats::{HeaderMap, jetstream};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::{Shared, unreadable};
use crate::beliefs::Beliefs;
use crate::follow::Source;
use crate::gomicro::decode_said;
use crate::nats::link::{ANSWER, Trouble};
use crate::registry::Error;

/// For how long after its end an entry is left where it is.
const LITTER: Duration = Duration::from_secs(60);

/// Where an endpoint is kept.
pub(super) fn key(service: &str, id: &str) -> String {
    format!("{}.{}", escape(service), escape(id))
}

fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "={byte:02x}").expect("a string takes everything");
        }
    }
    escaped
}

fn unescape(escaped: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), escaped.as_bytes());
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'=' {
            bytes.push(*byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

/// The subjects of the entries of `name`, or of all services.
pub(super) fn subjects(prefix: &str, name: Option<&str>) -> String {
    let keys = name.map_or_else(|| ">".to_owned(), |name| format!("{}.*", escape(name)));
    format!("{prefix}{keys}")
}

/// A consumer of the last entry under each key, and of every one to come, while the connection stands.
pub(super) struct Entries {
    messages: Ordered,
    store: Store,
    loss: BoxFuture<'static, Trouble>,
    /// How many there are to begin with.
    pending: u64,
    /// The server's time when it made the consumer.
    at: async_nats::datetime::DateTime,
}

impl Entries {
    async fn of(shared: &Shared, name: Option<&str>) -> Result<Self, Trouble> {
        let (client, store) = shared.store().await?;
        let loss = Box::pin(shared.link.loss());
        let config = OrderedConfig {
            deliver_subject: client.new_inbox(),
            filter_subject: subjects(&store.prefix, name),
            deliver_policy: DeliverPolicy::LastPerSubject,
            ..OrderedConfig::default()
        };
        let made = timeout(ANSWER, store.stream.create_consumer(config)).await.map_err(|_| Trouble::Late)?;
        let consumer = made.map_err(Trouble::refused)?;
        let (pending, at) = (consumer.cached_info().num_pending, consumer.cached_info().created);
        let messages = consumer.messages().await.map_err(Trouble::refused)?;
        Ok(Self { messages, store, loss, pending, at })
    }

    /// May be dropped and called again, until it fails.
    async fn next(&mut self) -> Result<jetstream::Message, Trouble> {
        let message = tokio::select! {
            trouble = &mut self.loss => return Err(trouble),
            message = self.messages.next() => message,
        };
        match message {
            Some(message) => message.map_err(Trouble::refused),
            None => Err(Trouble::Lost("the consumer is gone".to_owned())),
        }
    }

    /// Believes what there is to begin with, and has what is long over removed.
    async fn current(&mut self, shared: &Shared, beliefs: &mut Beliefs) -> Result<(), Trouble> {
        let mut litter = Vec::new();
        for _ in 0..self.pending {
            let message = timeout(ANSWER, self.next()).await.unwrap_or(Err(Trouble::Late))?;
            let (published, revision) = match message.info() {
                Ok(info) => (info.published, info.stream_sequence),
                Err(error) => return Err(Trouble::refused(error)),
            };
            let age = Duration::try_from(self.at - published).unwrap_or_default();
            if is_litter(&message, age) {
                litter.push((message.subject.to_string(), revision));
            } else {
                apply(&message, &self.store.prefix, age, beliefs);
            }
        }
        shared.broom.sweep(&self.store, litter);
        Ok(())
    }

    /// Waits until the set may have changed.
    async fn follow(&mut self, beliefs: &mut Beliefs) -> Result<(), Trouble> {
        let message = self.next().await?;
        apply(&message, &self.store.prefix, Duration::ZERO, beliefs);
        Ok(())
    }
}

/// Believes in the endpoints of `name`, or of all services, and answers what follows.
pub(super) async fn read(
    shared: &Shared,
    name: Option<&str>,
    beliefs: &mut Beliefs,
) -> Result<Entries, Trouble> {
    loop {
        let mut entries = Entries::of(shared, name).await?;
        match entries.current(shared, beliefs).await {
            Ok(()) => return Ok(entries),
            Err(Trouble::Late) => return Err(Trouble::Late),
            // It may have been lost over one of them, and would be again each time that is read.
            Err(_) if unreadable::remove(shared, name).await => {}
            Err(lost) => return Err(lost),
        }
    }
}

pub(super) fn is_deleted(headers: &HeaderMap) -> bool {
    let operation = headers.get("KV-Operation");
    operation.is_some_and(|operation| matches!(operation.as_str(), "DEL" | "PURGE"))
}

/// Whether it has been over, or deleted, for so long that nobody needs it.
fn is_litter(message: &jetstream::Message, age: Duration) -> bool {
    if message.headers.as_ref().is_some_and(is_deleted) {
        return age > LITTER;
    }
    let ttl = decode_said(&message.payload).ok().and_then(|said| said.ttl);
    ttl.is_some_and(|ttl| age > ttl.saturating_add(LITTER))
}

fn apply(message: &jetstream::Message, prefix: &str, age: Duration, beliefs: &mut Beliefs) {
    let Some(key) = message.subject.strip_prefix(prefix) else { return };
    let Some((name, id)) = key.split_once('.').and_then(|(n, i)| Some((unescape(n)?, unescape(i)?))) else {
        return;
    };
    match decode_said(&message.payload) {
        _ if message.headers.as_ref().is_some_and(is_deleted) => beliefs.forget_id(&name, &id),
        Ok(said) if said.service.name == name && said.service.endpoints.iter().all(|e| e.id == id) => {
            beliefs.read(&said, age);
        }
        other => {
            let why = other.err().map(|error| error.to_string());
            tracing::debug!(key, why, "ignoring what is no record in a bucket of the registry");
        }
    }
}

/// Follows one service.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    name: String,
    entries: Option<Entries>,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, name: String) -> Self {
        Self { shared, name, entries: None }
    }
}

impl Source for Watcher {
    async fn start(&mut self) -> Result<Beliefs, Error> {
        let mut beliefs = self.shared.memory.recall(&self.name);
        let reading = read(&self.shared, Some(&self.name), &mut beliefs).await;
        self.entries = Some(reading.map_err(|trouble| trouble.cannot("watch", &self.shared.link))?);
        Ok(beliefs)
    }

    async fn follow(&mut self, beliefs: &mut Beliefs) -> Result<(), Error> {
        match &mut self.entries {
            Some(entries) => entries.follow(beliefs).await,
            None => Err(Trouble::Lost("never made".to_owned())),
        }
        .map_err(|trouble| trouble.cannot("watch", &self.shared.link))
    }

    async fn make_sure(&mut self, beliefs: &mut Beliefs) -> Result<(), Error> {
        let reading = timeout(ANSWER, read(&self.shared, Some(&self.name), beliefs)).await;
        let read = reading
            .unwrap_or(Err(Trouble::Late))
            .map_err(|trouble| trouble.cannot("watch", &self.shared.link));
        read.map(drop)
    }

    fn lose(&mut self, beliefs: Beliefs) {
        self.shared.memory.lose(&self.name, beliefs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_becomes_a_key_and_comes_back() {
        for name in ["greeter", "a.b", "Grüße", "=2e", "%", " ", "topic:a", ".hidden"] {
            let escaped = escape(name);
            assert!(escaped.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)), "{escaped}");
            assert_eq!(unescape(&escaped).as_deref(), Some(name));
        }
        assert_eq!((unescape("=2"), unescape("=zz"), unescape("=ff")), (None, None, None));
        assert_ne!(key("a", "b-c"), key("a-b", "c"));
    }
}
