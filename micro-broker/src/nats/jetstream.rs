//! NATS with JetStream: kept on disk, at least once.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::ConsumerErrorKind;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;

use crate::broker::Broker;
use crate::confirm::Confirm;
use crate::envelope::Envelope;
use crate::error::Error;
use crate::event::Event;
use crate::id::Id;
use crate::nats::link::{ANSWER, Link, context};
use crate::nats::pull::Pull;
use crate::nats::streams::{self, Streams};
use crate::nats::target::Target;
use crate::subscribe::Subscribe;
use crate::subscription::{Health, Subscription};
use crate::topic::{self, DEAD_GROUP, DEAD_PREFIX};

pub(super) const BACKEND: &str = "nats-jetstream";

/// How long the server keeps a broadcast subscriber that does not come back.
const ABSENCE: Duration = Duration::from_secs(300);

/// A broker on NATS with JetStream. Clones share the connection.
///
/// **Promises.** At least once from the confirmation on, in order for each publisher while nothing fails, durable: `Ok`
/// says that the server has stored the event (it writes to disk at once and asks the disk for certainty every two
/// minutes, unless its `sync_interval` says otherwise). A group is a durable consumer and keeps its events whatever
/// dies. Publishing an event again to the same topic within two minutes has no effect, so a publication that was not
/// confirmed can be repeated, and is until its time is over (with go-micro's envelopes, which carry no such id, only what
/// the server said it did not take). Dead letters wait in the stream `dead`. Nothing is dropped: what is not handled waits in
/// the server. A stranger's event whose headers are no text ends the connection each time it is delivered, and is handled all
/// the same, with what can be read of them.
///
/// Topics with the same first word share a stream, made when first used; [`JetStream::stream`] names one of yours.
#[derive(Clone, Debug)]
pub struct JetStream {
    pub(super) link: Arc<Link>,
    pub(super) streams: Arc<Streams>,
    pub(super) envelope: Envelope,
}

impl JetStream {
    /// A broker at `nats://host:port`, or several of one cluster joined by commas.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when that is no address.
    pub fn new(servers: &str) -> Result<Self, Error> {
        let link = Arc::new(Link::new(BACKEND, servers)?);
        Ok(Self { link, streams: Arc::default(), envelope: Envelope::default() })
    }

    /// Writes events as `envelope`; every form is read.
    #[must_use]
    pub fn envelope(mut self, envelope: Envelope) -> Self {
        self.envelope = envelope;
        self
    }

    /// Keeps every topic in this stream, dead letters included. It must exist and cover them, and recognise duplicates
    /// for two minutes, as streams do unless told.
    #[must_use]
    pub fn stream(mut self, stream: &str) -> Self {
        self.streams = Arc::new(Streams::only(stream));
        self
    }

    /// What a subscription, or the keeper of its dead letters, pulls from. Made when it does not exist.
    async fn target(&self, topic: &str, group: Option<&str>, ack_wait: Duration) -> Result<Target, Error> {
        let client = self.link.client(ANSWER).await?;
        let context = context(&client);
        let stream = self.streams.find(&context, topic).await?;
        let name =
            group.map_or_else(|| format!("each-{}", Id::random()), |group| streams::consumer(topic, group));
        let config = pull::Config {
            durable_name: Some(name.clone()),
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::Explicit,
            ack_wait,
            max_deliver: -1,
            max_ack_pending: 65_536,
            filter_subject: topic.to_owned(),
            inactive_threshold: if group.is_some() { Duration::ZERO } else { ABSENCE },
            ..pull::Config::default()
        };
        let (streams, lasts) = (self.streams.clone(), group.is_some());
        let target = Target { context, stream, name, config, lasts, streams, keeper: None };
        target.create().await?;
        Ok(target)
    }
}

impl Broker for JetStream {
    fn publish(&self, event: Event, within: Duration) -> Confirm {
        if let Some(fault) = topic::fault(&event.topic) {
            return Confirm::known(Err(Error::invalid_topic(BACKEND, &event.topic, fault)));
        }
        let this = self.clone();
        Confirm::awaited(async move { this.send(event, within).await })
    }

    fn subscribe(&self, subscribe: Subscribe) -> BoxFuture<'_, Result<Subscription, Error>> {
        async move {
            let topic = &*subscribe.topic;
            if let Some(fault) = topic::pattern_fault(topic) {
                return Err(Error::invalid_topic(BACKEND, topic, fault));
            }
            let mut keeper = None;
            if !topic.starts_with(DEAD_PREFIX) {
                // Dead letters wait for whoever comes to read them.
                let dead =
                    self.target(&format!("{DEAD_PREFIX}{topic}"), Some(DEAD_GROUP), ANSWER * 2).await?;
                keeper = Some(Box::new(dead));
            }
            let mut target = self.target(topic, subscribe.group.as_deref(), subscribe.ack_wait).await?;
            target.keeper = keeper;
            let (report, health) = Health::new();
            let pull = Pull::new(self.link.clone(), target, &subscribe, report).await?;
            Ok(Subscription::new(pull.stream().boxed(), subscribe, Arc::new(self.clone()), health))
        }
        .boxed()
    }

    fn forget<'a>(&'a self, topic: &'a str, group: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let client = self.link.client(ANSWER).await?;
            let context = context(&client);
            let stream = self.streams.find(&context, topic).await?;
            match context.delete_consumer_from_stream(streams::consumer(topic, group), stream).await {
                Ok(_) => Ok(()),
                Err(error) => match error.kind() {
                    ConsumerErrorKind::JetStream(fault)
                        if fault.error_code() == ErrorCode::CONSUMER_NOT_FOUND =>
                    {
                        Ok(())
                    }
                    _ => Err(self.link.unavailable(error)),
                },
            }
        }
        .boxed()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.link.flush().boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.link.close().boxed()
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}
