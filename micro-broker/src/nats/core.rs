//! NATS itself: fast, at most once.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_nats::{Client, PublishErrorKind, Subscriber};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;
use tokio::sync::watch;
use tokio::task::{AbortHandle, unconstrained};
use tokio::time::timeout_at;

use crate::broker::Broker;
use crate::confirm::Confirm;
use crate::deadline;
use crate::envelope::Envelope;
use crate::error::Error;
use crate::event::Event;
use crate::member::Member;
use crate::nats::link::{ANSWER, KEPT, Link, PAUSE, Status};
use crate::nats::wire::{self, Reader, Topic};
use crate::policy::Policy;
use crate::queue::Queue;
use crate::queued::Queued;
use crate::subscribe::Subscribe;
use crate::subscription::{Health, Report, Subscription};
use crate::topic;

const BACKEND: &str = "nats";

/// How many messages are taken from the connection at a time.
const CHUNK: usize = 256;
/// How many of these before others have their turn: all that the client keeps. In each turn of its own the client reads many,
/// and drops what it has no room for.
const CHUNKS: usize = KEPT / CHUNK;

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
            return Confirm::known(Err(invalid(&event.topic, fault)));
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
                return Err(invalid(&subscribe.topic, fault));
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
    let (headers, payload) = wire::write(event, envelope, client.max_payload())
        .map_err(|what| Error::Invalid { backend: BACKEND, what })?;
    let topic = Topic(&event.topic);
    let sent = match headers {
        Some(headers) => client.publish_with_headers(topic, headers, payload).await,
        None => client.publish(topic, payload).await,
    };
    sent.map_err(|error| match error.kind() {
        PublishErrorKind::Send => Error::Unavailable { backend: BACKEND, source: error.into() },
        _ => Error::Invalid { backend: BACKEND, what: format!("an event: {error}") },
    })
}

fn invalid(topic: &str, fault: &str) -> Error {
    Error::Invalid { backend: BACKEND, what: format!("topic {topic:?}: {fault}") }
}

/// What the server sends for a subscription, from now on.
async fn subscriber(link: &Link, subscribe: &Subscribe) -> Result<Subscriber, Error> {
    let client = link.client(ANSWER).await?;
    let subject = subscribe.topic.to_string();
    let subscriber = match &subscribe.group {
        Some(group) => client.queue_subscribe(subject, group.to_string()).await,
        None => client.subscribe(subject).await,
    };
    let subscriber = subscriber.map_err(|fault| invalid(&subscribe.topic, &fault.to_string()))?;
    link.flush().await?;
    Ok(subscriber)
}

/// Subscribes again where a client has ended, and another one is made.
struct Again {
    link: Arc<Link>,
    subscribe: Subscribe,
}

impl Again {
    /// `None` once the broker is closed.
    async fn subscriber(&self) -> Option<Subscriber> {
        loop {
            match subscriber(&self.link, &self.subscribe).await {
                Ok(subscriber) => return Some(subscriber),
                Err(Error::Closed { .. }) => return None,
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

/// Takes events from the connection as fast as they come, so that a slow subscriber never holds up the others.
async fn pump(
    mut subscriber: Subscriber,
    again: Again,
    mut reader: Reader,
    queue: Arc<Queue>,
    report: watch::Sender<Report>,
) {
    let (mut read, mut status) = (Vec::with_capacity(CHUNK), again.link.status());
    let Status { connections, mut overrun, .. } = status.borrow().clone();
    for chunk in 1_usize.. {
        tokio::select! {
            more = gather(&mut subscriber, &mut reader, &mut read) => {
                let dropped = queue.push_all(read.drain(..));
                count(dropped, &report, || {
                    format!("{} is slower than its publishers: its buffer in this process is full", queue.name())
                });
                if !more {
                    subscriber = match again.subscriber().await {
                        Some(subscriber) => subscriber,
                        None => break,
                    };
                }
            }
            Ok(()) = status.changed() => {
                let now = status.borrow_and_update().clone();
                if now.closed {
                    break;
                }
                report.send_modify(|report| {
                    report.connected = now.up;
                    report.restored = now.connections.saturating_sub(connections);
                    report.trouble = now.trouble;
                });
                count(now.overrun.saturating_sub(overrun), &report, || {
                    format!("this process is too slow for what its connection brings, maybe to {}", queue.name())
                });
                overrun = now.overrun;
            }
        }
        if chunk.is_multiple_of(CHUNKS) {
            tokio::task::yield_now().await;
        }
    }
    queue.close();
}

/// Reads what has come, once something has. It is read before the queue is asked, so that nobody waits for that meanwhile.
/// `false` when nothing comes any more.
async fn gather(subscriber: &mut Subscriber, reader: &mut Reader, read: &mut Vec<Queued>) -> bool {
    let gathered = poll_fn(|cx| {
        while read.len() < CHUNK {
            match subscriber.poll_next_unpin(cx) {
                Poll::Ready(Some(message)) => read.push(reader.read(message).into()),
                Poll::Ready(None) => return Poll::Ready(false),
                Poll::Pending if read.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(true)
    });
    unconstrained(gathered).await
}

/// Reports so many dropped events.
fn count(dropped: u64, report: &watch::Sender<Report>, place: impl FnOnce() -> String) {
    if dropped == 0 {
        return;
    }
    let place = place();
    report.send_modify(|report| {
        // Said once, when dropping begins; the count tells the rest.
        if report.dropped == 0 {
            tracing::warn!(place, "events are being dropped");
        }
        report.dropped += dropped;
        report.trouble = Some(place);
    });
}

/// Ends a task with its owner.
#[derive(Debug)]
struct Ended(AbortHandle);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}
