//! Carries what NATS sends for a subscription into the queue of its members.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use async_nats::Subscriber;
use futures_util::stream::StreamExt;
use tokio::sync::watch;
use tokio::task::{AbortHandle, unconstrained};

use crate::error::Error;
use crate::nats::link::{ANSWER, KEPT, Link, PAUSE, Status};
use crate::nats::wire::Reader;
use crate::queue::Queue;
use crate::queued::Queued;
use crate::subscribe::Subscribe;
use crate::subscription::Report;

/// How many messages are taken from the connection at a time.
const CHUNK: usize = 256;
/// How many of these before others have their turn: all that the client keeps. In each turn of its own the client reads many,
/// and drops what it has no room for.
const CHUNKS: usize = KEPT / CHUNK;

/// What the server sends for a subscription, from now on.
pub(super) async fn subscriber(link: &Link, subscribe: &Subscribe) -> Result<Subscriber, Error> {
    let client = link.client(ANSWER).await?;
    let subject = subscribe.topic.to_string();
    let subscriber = match &subscribe.group {
        Some(group) => client.queue_subscribe(subject, group.to_string()).await,
        None => client.subscribe(subject).await,
    };
    let subscriber =
        subscriber.map_err(|fault| Error::invalid_topic(link.backend(), &subscribe.topic, fault))?;
    link.flush().await?;
    Ok(subscriber)
}

/// Subscribes again where a client has ended, and another one is made.
pub(super) struct Again {
    pub(super) link: Arc<Link>,
    pub(super) subscribe: Subscribe,
}

impl Again {
    /// `None` once the broker is closed.
    pub(super) async fn subscriber(&self) -> Option<Subscriber> {
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
pub(super) async fn pump(
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
pub(super) struct Ended(pub(super) AbortHandle);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}
