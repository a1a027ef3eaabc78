//! NATS itself: fast, at most once.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, PublishErrorKind};
use futures_util::future::{BoxFuture, FutureExt};
use tokio::time::timeout_at;

use crate::broker::Broker;
use crate::confirm::Confirm;
use crate::deadline;
use crate::envelope::Envelope;
use crate::error::Error;
use crate::event::Event;
use crate::member::Member;
use crate::nats::link::Link;
use crate::nats::pump::{Again, Ended, pump, subscriber};
use crate::nats::wire::{self, Reader, Topic};
use crate::policy::Policy;
use crate::queue::Queue;
use crate::subscribe::Subscribe;
use crate::subscription::{Health, Subscription};
use crate::topic;

const BACKEND: &str = "nats";

/// A broker on NATS without JetStream. Clones share the connection.
///
/// **Promises.** At most once: `Ok` from a publication says that it was handed to a standing connection, and an event
/// nobody is subscribed to, or that is on its way when a process or connection dies, is gone. A publisher's events
/// arrive in order. Failed events are tried again within the process that received them, and a dead letter is there
/// for those who are subscribed to it. Events wait in the subscriber's [`buffer`](Subscribe::buffer) (and at most
/// 64 MiB); what arrives when it is full is dropped, counted and named in [`Health`], and the connection stays. It ends, and
/// is made again, where a stranger's message has headers that are no text.
#[derive(Clone, Debug)]
pub struct Nats {
    link: Arc<Link>,
    envelope: Envelope,
}

impl Nats {
    /// A broker at `nats://host:port`, or several of one cluster joined by commas.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when that is no address.
    pub fn new(servers: &str) -> Result<Self, Error> {
        Ok(Self { link: Arc::new(Link::new(BACKEND, servers)?), envelope: Envelope::default() })
    }

    /// Writes events as `envelope`; every form is read.
    #[must_use]
    pub fn envelope(mut self, envelope: Envelope) -> Self {
        self.envelope = envelope;
        self
    }
}

impl Broker for Nats {
    fn publish(&self, event: Event, within: Duration) -> Confirm {
        if let Some(fault) = topic::fault(&event.topic) {
            return Confirm::known(Err(Error::invalid_topic(BACKEND, &event.topic, fault)));
        }
        // Nearly always the connection stands and its queue has room, and nothing needs to wait.
        let sent = self.link.while_connected(|client| send(client, &event, self.envelope).now_or_never());
        if let Some(sent) = sent.flatten() {
            return Confirm::known(sent);
        }
        let (this, deadline) = (self.clone(), deadline::after(within));
        Confirm::awaited(async move {
            let client = this.link.client(within).await?;
            let late = |late| this.link.unavailable(late);
            timeout_at(deadline, send(&client, &event, this.envelope)).await.map_err(late)?
        })
    }

    fn subscribe(&self, subscribe: Subscribe) -> BoxFuture<'_, Result<Subscription, Error>> {
        async move {
            if let Some(fault) = topic::pattern_fault(&subscribe.topic) {
                return Err(Error::invalid_topic(BACKEND, &subscribe.topic, fault));
            }
            let subscriber = subscriber(&self.link, &subscribe).await?;
            let (report, health) = Health::new();
            let queue = Arc::new(Queue::new(&subscribe));
            let reader = Reader::new(&subscribe.topic);
            let again = Again { link: self.link.clone(), subscribe: subscribe.clone() };
            let pump = tokio::spawn(pump(subscriber, again, reader, queue.clone(), report));
            let pump = Ended(pump.abort_handle());
            let (in_flight, letters) = (subscribe.in_flight, Arc::new(self.clone()));
            let member = Member::new(queue, in_flight, Policy { subscribe, letters });
            Ok(Subscription::of(member.keep(pump), health))
        }
        .boxed()
    }

    fn forget<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        // Nothing is kept for a group, so there is nothing to forget.
        std::future::ready(Ok(())).boxed()
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

async fn send(client: &Client, event: &Event, envelope: Envelope) -> Result<(), Error> {
    let (headers, payload) =
        wire::write(event, envelope, client.max_payload()).map_err(|what| Error::invalid(BACKEND, what))?;
    let topic = Topic(&event.topic);
    let sent = match headers {
        Some(headers) => client.publish_with_headers(topic, headers, payload).await,
        None => client.publish(topic, payload).await,
    };
    sent.map_err(|error| match error.kind() {
        PublishErrorKind::Send => Error::Unavailable { backend: BACKEND, source: error.into() },
        _ => Error::invalid(BACKEND, format!("an event: {error}")),
    })
}
