//! What a subscriber asks for.

use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;

/// What a subscriber asks for: a topic, a share in a group, and how failures are treated.
///
/// ```
/// # use micro_broker::Subscribe;
/// # use std::time::Duration;
/// let subscribe = Subscribe::to("orders.*").group("billing").in_flight(16).attempts(3);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Subscribe {
    pub(crate) topic: Arc<str>,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) in_flight: usize,
    pub(crate) attempts: u32,
    pub(crate) backoff: Backoff,
    pub(crate) ack_wait: Duration,
    pub(crate) buffer: usize,
}

impl Subscribe {
    /// Subscribes to a topic, which may hold the backend's wildcards. Without a group every subscription gets every
    /// event, from now on and while it lasts: broadcast.
    pub fn to(topic: impl Into<Arc<str>>) -> Self {
        Self {
            topic: topic.into(),
            group: None,
            in_flight: 64,
            attempts: 5,
            backoff: Backoff::default(),
            ack_wait: Duration::from_secs(10),
            buffer: 65_536,
        }
    }

    /// Shares the topic's events with the other members of the group: each event goes to one of them. A group outlives
    /// its members where the backend can keep it, and gets what was published while it had none.
    pub fn group(mut self, group: impl Into<Arc<str>>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// How many events are in hand at once, at least 1; 64 unless told. This is also how many handlers run at once:
    /// `in_flight(1)` keeps a publisher's order.
    pub fn in_flight(mut self, in_flight: usize) -> Self {
        self.in_flight = in_flight.max(1);
        self
    }

    /// How many times an event is tried before it goes to the dead letters, at least 1; 5 unless told.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// How long a failed event waits for its next attempt.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long the broker waits for an answer before it delivers an event again, where it counts that time
    /// (JetStream, http); 10 s unless told, between a millisecond and a year. While [`deliver`](crate::deliver) runs a
    /// handler the wait is renewed.
    pub fn ack_wait(mut self, ack_wait: Duration) -> Self {
        self.ack_wait = ack_wait.clamp(Duration::from_millis(1), Duration::from_secs(365 * 86_400));
        self
    }

    /// How many events wait in this process where the backend pushes without asking (memory, NATS core), at least 1;
    /// 65 536 unless told.
    pub fn buffer(mut self, buffer: usize) -> Self {
        self.buffer = buffer.max(1);
        self
    }

    /// The topic or pattern asked for.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The group whose events it shares, if it does.
    pub fn group_name(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// The name of this subscription in errors and reports: its topic and group.
    pub(crate) fn describe(&self) -> String {
        match &self.group {
            Some(group) => format!("topic {:?} of group {group:?}", self.topic),
            None => format!("topic {:?} of one subscriber", self.topic),
        }
    }
}
