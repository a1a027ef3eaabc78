//! Exchanges and queues: what exists on the server, and what it is called.

use std::sync::Arc;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use crate::envelope::Envelope;
use crate::id::Id;
use crate::topic::{DEAD_GROUP, DEAD_PREFIX};

/// Where dead letters go: ours, and as the dead-letter exchange of every queue the server's, so that all end in one
/// place.
const DEAD: &str = "micro.dead";

/// How long a broadcast subscriber's queue outlives its connection, in milliseconds.
const ABSENCE: i32 = 300_000;

/// How many bytes AMQP has for a name, of a queue or a header: the client panics at more.
pub(super) const LONGEST_NAME: usize = 255;

/// What a broker's exchanges and queues are like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Topology {
    pub(super) envelope: Envelope,
    pub(super) quorum: bool,
}

/// Where a topic's events go in: the exchange, and the routing key there.
pub(super) fn route(topic: &str, topology: Topology) -> (&'static str, &str) {
    match topic.strip_prefix(DEAD_PREFIX) {
        Some(topic) => (DEAD, topic),
        None if topology.envelope == Envelope::Native => ("micro.events", topic),
        None => ("micro", topic),
    }
}

/// The topic of a message that came through an exchange; `last` where it is the same.
pub(super) fn topic(exchange: &str, routing_key: &str, last: &Arc<str>) -> Arc<str> {
    let dead = exchange == DEAD;
    let same = if dead { last.strip_prefix(DEAD_PREFIX) } else { Some(&**last) };
    match same {
        Some(same) if same == routing_key => last.clone(),
        _ if dead => format!("{DEAD_PREFIX}{routing_key}").into(),
        _ => routing_key.into(),
    }
}

/// Declares the exchange of a topic. go-micro's own is not durable.
pub(super) async fn declare_exchange(channel: &Channel, exchange: &str) -> lapin::Result<()> {
    let options =
        ExchangeDeclareOptions { durable: exchange != "micro", ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(exchange.into(), ExchangeKind::Topic, options, FieldTable::default()).await
}

/// The queue of a subscription.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) name: String,
    topic: String,
    topology: Topology,
    /// The queue of a group outlives its members, that of one subscriber does not.
    pub(super) lasts: bool,
}

impl Queue {
    pub(super) fn of_group(topic: &str, group: &str, topology: Topology) -> Self {
        // A queue cannot change its type, so each type has names of its own.
        let kind = if topology.quorum { "quorum:" } else { "" };
        Self { name: format!("{kind}{group}:{topic}"), topic: topic.to_owned(), topology, lasts: true }
    }

    pub(super) fn of_one(topic: &str, id: &Id, topology: Topology) -> Self {
        let name = format!("each-{id}:{topic}");
        // The topic is there for people, not for the server.
        let name = name[..name.floor_char_boundary(LONGEST_NAME)].to_owned();
        Self { name, topic: topic.to_owned(), topology, lasts: false }
    }

    /// Where its dead letters wait for whoever comes to read them.
    fn of_dead(&self) -> Self {
        Self::of_group(&format!("{DEAD_PREFIX}{}", self.topic), DEAD_GROUP, self.topology)
    }

    /// What is wrong with the names it needs, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        let dead = if self.topic.starts_with(DEAD_PREFIX) { 0 } else { self.of_dead().name.len() };
        let longest = self.name.len().max(dead);
        (longest > LONGEST_NAME).then(|| {
            format!("its queues would have names of {longest} bytes, and AMQP has room for {LONGEST_NAME}")
        })
    }

    /// Whether the server counts how often it delivered an event.
    pub(super) fn counts(&self) -> bool {
        self.lasts && self.topology.quorum
    }

    /// Makes the queue and what it needs, or sees that it is there.
    pub(super) async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        let (exchange, key) = route(&self.topic, self.topology);
        declare_exchange(channel, DEAD).await?;
        if exchange != DEAD {
            declare_exchange(channel, exchange).await?;
            self.of_dead().declare_bound(channel, DEAD, key).await?;
        }
        self.declare_bound(channel, exchange, key).await
    }

    async fn declare_bound(&self, channel: &Channel, exchange: &str, key: &str) -> lapin::Result<()> {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(self.name.as_str().into(), options, self.arguments(exchange)).await?;
        let bind = QueueBindOptions::default();
        channel
            .queue_bind(self.name.as_str().into(), exchange.into(), key.into(), bind, FieldTable::default())
            .await
    }

    fn arguments(&self, exchange: &str) -> FieldTable {
        let mut arguments = FieldTable::default();
        let text = |text: &str| AMQPValue::LongString(text.into());
        arguments.insert("x-queue-type".into(), text(if self.counts() { "quorum" } else { "classic" }));
        if exchange != DEAD {
            arguments.insert("x-dead-letter-exchange".into(), text(DEAD));
        }
        if !self.lasts {
            arguments.insert("x-expires".into(), AMQPValue::LongInt(ABSENCE));
        }
        arguments
    }
}
