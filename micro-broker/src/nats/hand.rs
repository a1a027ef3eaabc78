//! Events of a JetStream consumer that are being handled, and what the server is told of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_nats::{Client, Subject};
use bytes::Bytes;
use futures_util::future::FutureExt;
use tokio::sync::Notify;

use crate::confirm::Confirm;
use crate::error::Error;
use crate::event::Event;
use crate::nats::link::{ANSWER, Link, PAUSE};
use crate::settle::Settle;

/// What the events in hand share: a client of their own each would cost more than all else about them.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) link: Arc<Link>,
    pub(super) client: ArcSwap<Client>,
    ack_wait: Duration,
    held: AtomicUsize,
    /// Is told when there are fewer.
    pub(super) freed: Notify,
}

impl Hand {
    pub(super) fn new(link: Arc<Link>, client: Client, ack_wait: Duration) -> Arc<Self> {
        let (client, held, freed) = (ArcSwap::from_pointee(client), AtomicUsize::new(0), Notify::new());
        Arc::new(Self { link, client, ack_wait, held, freed })
    }

    /// How many there are.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// One more, to be acknowledged at `reply`.
    pub(super) fn take(self: &Arc<Self>, reply: Subject) -> Arc<dyn Settle> {
        self.held.fetch_add(1, Ordering::AcqRel);
        Arc::new(Held { reply, hand: self.clone() })
    }

    /// Tells the server by whatever client there is: the one an event came by may have ended.
    async fn tell(&self, reply: Subject, payload: Bytes) -> Result<(), Error> {
        let told = async {
            loop {
                let client = self.link.client(ANSWER).await?;
                if client.publish(reply.clone(), payload.clone()).await.is_ok() {
                    return Ok(());
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(ANSWER, told).await.map_err(|late| self.link.unavailable(late))?
    }
}

/// An event in hand.
#[derive(Debug)]
struct Held {
    reply: Subject,
    hand: Arc<Hand>,
}

impl Held {
    fn tell(&self, answer: impl Into<Bytes>) -> Confirm {
        let payload = answer.into();
        // Nearly always the connection's queue has room.
        let sent = self.hand.client.load().publish(self.reply.clone(), payload.clone()).now_or_never();
        if let Some(Ok(())) = sent {
            return Confirm::known(Ok(()));
        }
        let (hand, reply) = (self.hand.clone(), self.reply.clone());
        Confirm::awaited(async move { hand.tell(reply, payload).await })
    }
}

impl Settle for Held {
    fn ack(&self) -> Confirm {
        self.tell("+ACK")
    }

    fn nack(&self, _: Event, after: Duration) -> Confirm {
        // Go's durations end after 292 years.
        let delay = i64::try_from(after.as_nanos()).unwrap_or(i64::MAX);
        self.tell(format!(r#"-NAK {{"delay":{delay}}}"#))
    }

    fn release(&self, _: Event) {
        // If the connection has no room now, the ack wait brings the event back.
        let _ = self.tell("-NAK").now_or_never();
    }

    fn renew(&self) {
        let _ = self.tell("+WPI").now_or_never();
    }

    fn renew_every(&self) -> Option<Duration> {
        Some(self.hand.ack_wait / 3)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.hand.held.fetch_sub(1, Ordering::AcqRel);
        self.hand.freed.notify_one();
    }
}
