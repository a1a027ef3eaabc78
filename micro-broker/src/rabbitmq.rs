//! A broker on RabbitMQ: kept in durable queues, at least once.

pub(crate) mod connect;
mod consume;
mod held;
mod link;
mod mend;
mod publish;
mod stream;
mod topology;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;
use lapin::options::QueueDeleteOptions;

use crate::broker::Broker;
use crate::confirm::Confirm;
use crate::envelope::Envelope;
use crate::error::Error;
use crate::event::Event;
use crate::id::Id;
use crate::rabbitmq::consume::Consuming;
use crate::rabbitmq::link::Link;
use crate::rabbitmq::publish::Outlet;
use crate::rabbitmq::topology::{LONGEST_NAME, Queue, Topology};
use crate::subscribe::Subscribe;
use crate::subscription::{Health, Subscription};
use crate::topic;
use crate::url::Settings;

const BACKEND: &str = "rabbitmq";

/// How long the server may take to answer what is not a publication.
const ANSWER: Duration = Duration::from_secs(10);

/// A broker on RabbitMQ 3.10 or later. Clones share two connections, one to publish and one to consume, so that a
/// server that holds publishers back still hears acknowledgements.
///
/// **Promises.** At least once from the confirmation on, in order for each publisher while nothing fails, durable: `Ok`
/// says that every queue concerned has written the event. A group is a durable queue, with [`RabbitMq::quorum`] a quorum
/// queue, and keeps its events whatever dies; a broadcast subscriber's queue outlives a lost connection by five minutes.
/// Subscriptions are restored after any reconnection. Publishing an event again publishes it twice: deduplicate by id. Dead
/// letters wait in a queue of their own behind the exchange `micro.dead`, ours and those the server puts aside itself.
/// Nothing is dropped: what is not handled waits in the server, and the server holds its publishers back when it runs out
/// of memory or disk: with 64 MiB on their way, others are told that nothing was published.
///
/// A durable queue does not count deliveries: attempts are counted by the process that handles an event, and start again
/// at 2 in another one.
///
/// Topics are routing keys of the durable topic exchange `micro.events`; with [`Envelope::GoMicro`] of go-micro's
/// exchange `micro`. Wildcards are AMQP's: `*` for one word, `#` for any number.
#[derive(Clone, Debug)]
pub struct RabbitMq {
    consuming: Arc<Link>,
    outlet: Arc<Outlet>,
    topology: Topology,
}

impl RabbitMq {
    /// A broker at `amqp://user:password@host:port/vhost`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when that is no address.
    pub fn new(url: &str) -> Result<Self, Error> {
        let publishing = Link::new(url, "micro-broker publisher")?;
        Ok(Self {
            consuming: Arc::new(Link::new(url, "micro-broker subscriber")?),
            outlet: Arc::new(Outlet::new(publishing)),
            topology: Topology::default(),
        })
    }

    /// Writes events as `envelope`; every form is read.
    #[must_use]
    pub fn envelope(mut self, envelope: Envelope) -> Self {
        self.topology.envelope = envelope;
        self
    }

    /// Keeps groups in quorum queues: replicated, and the server counts attempts, so that even an event that kills every
    /// process that tries it ends among the dead letters. For a cluster of three nodes or more: on a single node that was
    /// killed, a queue in use may stay without a leader once the server is back, and takes nothing until somebody has it
    /// elect one (3.10.8, <https://github.com/rabbitmq/rabbitmq-server/issues/10070>). No client can help: one had none
    /// before it was called for the first time, two seconds after the start, while an idle one beside it had elected its
    /// own, and each later call was answered in the server's log by `leader not known`. Nothing is lost:
    /// `rabbitmqctl eval "ra:trigger_election({'%2F_quorum:GROUP:TOPIC', node()})."` elects at once, and publishers and
    /// subscribers go on. An existing queue keeps its type; the two are told apart by name.
    #[must_use]
    pub fn quorum(mut self) -> Self {
        self.topology.quorum = true;
        self
    }
}

/// Opens `amqp://user:password@host:port/vhost`.
pub(crate) fn open(url: &str) -> Result<Arc<dyn Broker>, Error> {
    let mut settings = Settings::parse(BACKEND, url);
    let mut broker =
        RabbitMq::new(settings.base)?.envelope(settings.take_as("envelope")?.unwrap_or_default());
    if settings.take("quorum").is_some() {
        broker = broker.quorum();
    }
    settings.end()?;
    Ok(Arc::new(broker))
}

impl Broker for RabbitMq {
    fn publish(&self, event: Event, within: Duration) -> Confirm {
        if let Some(fault) = topic::fault(&event.topic) {
            return Confirm::known(Err(Error::invalid_topic(BACKEND, &event.topic, fault)));
        }
        if let Some(name) = event.headers.keys().find(|name| name.as_str().len() > LONGEST_NAME) {
            let length = name.as_str().len();
            let what = format!("a header's name of {length} bytes: AMQP has room for {LONGEST_NAME}");
            return Confirm::known(Err(Error::invalid(BACKEND, what)));
        }
        Confirm::awaited(self.outlet.clone().publish(event, self.topology, within))
    }

    fn subscribe(&self, subscribe: Subscribe) -> BoxFuture<'_, Result<Subscription, Error>> {
        async move {
            if let Some(fault) = topic::pattern_fault(&subscribe.topic) {
                return Err(Error::invalid_topic(BACKEND, &subscribe.topic, fault));
            }
            let queue = match &subscribe.group {
                Some(group) => Queue::of_group(&subscribe.topic, group, self.topology),
                None => Queue::of_one(&subscribe.topic, &Id::random(), self.topology),
            };
            if let Some(fault) = queue.fault() {
                return Err(Error::invalid_topic(BACKEND, &subscribe.topic, fault));
            }
            let (report, health) = Health::new();
            let mut consuming = Consuming::new(self.consuming.clone(), queue, &subscribe, report);
            consuming.begin(ANSWER).await?;
            Ok(Subscription::new(consuming.stream().boxed(), subscribe, Arc::new(self.clone()), health))
        }
        .boxed()
    }

    fn forget<'a>(&'a self, topic: &'a str, group: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let queue = Queue::of_group(topic, group, self.topology);
            if let Some(fault) = queue.fault() {
                return Err(Error::invalid_topic(BACKEND, topic, fault));
            }
            let deleted = async {
                let channel = self.consuming.connection(ANSWER).await?.create_channel().await;
                let channel = channel.map_err(|error| self.consuming.unavailable(error))?;
                let deleted =
                    channel.queue_delete(queue.name.as_str().into(), QueueDeleteOptions::default()).await;
                deleted.map(drop).map_err(|error| self.consuming.unavailable(error))
            };
            tokio::time::timeout(ANSWER, deleted).await.map_err(|late| self.consuming.unavailable(late))?
        }
        .boxed()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.consuming.flush().boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            self.outlet.close().await;
            self.consuming.close().await;
        }
        .boxed()
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}
