//! Pulls events from a JetStream consumer: as many as there is room for, and again after every reconnection.

mod recover;

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::{Message, StatusCode, Subscriber};
use futures_util::future::FutureExt;
use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::Error;
use crate::nats::hand::Hand;
use crate::nats::link::{Link, PAUSE, Status, leave};
use crate::nats::target::Target;
use crate::nats::wire::{ACK, Reader};
use crate::settle::Settle;
use crate::subscribe::Subscribe;
use crate::subscription::{Incoming, Report};

/// How long a request for events stays with the server.
const EXPIRES: Duration = Duration::from_secs(10);

/// One subscriber of a consumer.
#[derive(Debug)]
pub(super) struct Pull {
    target: Target,
    reader: Reader,
    ask: String,
    inbox: String,
    // `None` only while it is dropped.
    arrivals: Option<Subscriber>,
    hand: Arc<Hand>,
    limit: usize,
    /// How many events the server may still send for what was asked.
    asked: usize,
    /// How many more to ask for one by one.
    wary: usize,
    lost: Instant,
    connections: u64,
    status: watch::Receiver<Status>,
    report: watch::Sender<Report>,
    /// An event that the client cannot read, and the last such one: its place in the stream, its attempts, and whether it is
    /// in hand.
    unreadable: Option<Incoming>,
    last_unreadable: Option<(u64, u32, Weak<dyn Settle>)>,
}

impl Pull {
    pub(super) async fn new(
        link: Arc<Link>,
        target: Target,
        subscribe: &Subscribe,
        report: watch::Sender<Report>,
    ) -> Result<Self, Error> {
        let (client, status) = (target.context.client(), link.status());
        let inbox = client.new_inbox();
        let arrivals = client.subscribe(inbox.clone()).await.map_err(|error| link.unavailable(error))?;
        let connections = status.borrow().connections;
        let hand = Hand::new(link, client, target.config.ack_wait);
        Ok(Self {
            ask: target.ask(),
            target,
            reader: Reader::new(&subscribe.topic),
            inbox,
            arrivals: Some(arrivals),
            hand,
            limit: subscribe.in_flight,
            asked: 0,
            wary: 0,
            lost: Instant::now(),
            connections,
            status,
            report,
            unreadable: None,
            last_unreadable: None,
        })
    }

    pub(super) fn stream(self) -> impl Stream<Item = Incoming> + Send {
        // Boxed, as it is moved for every event.
        stream::unfold(Box::new(self), |mut pull| async move {
            pull.next().await.map(|incoming| (incoming, pull))
        })
    }

    async fn next(&mut self) -> Option<Incoming> {
        loop {
            if let Some(incoming) = self.unreadable.take() {
                return Some(incoming);
            }
            self.ask_for_more().await;
            let arrivals = self.arrivals.as_mut()?;
            // What is there already needs none of the rest, which costs more than it does.
            if let Some(arrived) = arrivals.next().now_or_never() {
                if let Some(incoming) = self.take(arrived).await? {
                    return Some(incoming);
                }
                continue;
            }
            tokio::select! {
                arrived = arrivals.next() => if let Some(incoming) = self.take(arrived).await? {
                    return Some(incoming);
                },
                // What was freed since it was asked for more has left its word.
                () = self.hand.freed.notified() => {}
                // A request, or the answer to one, was lost.
                () = tokio::time::sleep_until(self.lost), if self.asked > 0 => self.asked = 0,
                Ok(()) = self.status.changed() => self.follow().await?,
            }
        }
    }

    /// Asks for as many events as there is room for, once that is worth a request.
    async fn ask_for_more(&mut self) {
        let free = self.limit.saturating_sub(self.hand.held() + self.asked);
        let (free, few) =
            if self.wary > 0 { (free.min(1), true) } else { (free, free < self.limit.div_ceil(2)) };
        if free == 0 || (self.asked > 0 && few) || !self.status.borrow().up {
            return;
        }
        let request = format!(r#"{{"batch":{free},"expires":{}}}"#, EXPIRES.as_nanos());
        let client = self.hand.client.load_full();
        if client.publish_with_reply(self.ask.clone(), self.inbox.clone(), request.into()).await.is_ok() {
            self.asked += free;
            self.lost = Instant::now() + EXPIRES + EXPIRES / 4;
        }
    }

    /// What a message brings: an event, or news about a request. The outer `None` ends the stream.
    async fn take(&mut self, arrived: Option<Message>) -> Option<Option<Incoming>> {
        let Some(message) = arrived else { return self.renew().await.map(|()| None) };
        // Anybody can publish what looks like the server's own word.
        let is_event = message.reply.as_ref().is_some_and(|reply| reply.starts_with(ACK));
        let status = message.status.filter(|_| !is_event);
        match status {
            None | Some(StatusCode::OK) => {
                self.asked = self.asked.saturating_sub(1);
                return Some(self.event(message));
            }
            Some(StatusCode::IDLE_HEARTBEAT) => {}
            Some(StatusCode::NO_RESPONDERS) => {
                // JetStream is still starting, or the consumer is gone.
                tokio::time::sleep(PAUSE).await;
                self.restore().await;
            }
            Some(_) if message.description.as_deref() == Some("Consumer Deleted") => {
                if self.target.lasts {
                    return None;
                }
                self.restore().await;
            }
            Some(_) => {
                let unmet = message.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages"));
                let unmet = unmet.and_then(|unmet| unmet.as_str().parse().ok()).unwrap_or(self.asked);
                self.asked = self.asked.saturating_sub(unmet);
            }
        }
        Some(None)
    }

    fn event(&mut self, message: Message) -> Option<Incoming> {
        let reply = message.reply.clone()?;
        let attempt = attempts(&reply)?;
        self.wary = self.wary.saturating_sub(1);
        let mut event = self.reader.read(message);
        event.attempt = attempt;
        Some((event, self.hand.take(reply)))
    }
}

/// How many times the event with this reply subject has been delivered, this time included. The subject is
/// `$JS.ACK.stream.consumer.delivered…`, or with a domain and an account before the stream (ADR-15).
fn attempts(reply: &str) -> Option<u32> {
    let words = reply.split('.').count();
    reply.split('.').nth(if words >= 11 { 6 } else { 4 })?.parse().ok()
}

impl Drop for Pull {
    fn drop(&mut self) {
        if let Some((event, held)) = self.unreadable.take() {
            held.release(event);
        }
        let Some(arrivals) = self.arrivals.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (context, stream, name, lasts) = (
            self.target.context.clone(),
            self.target.stream.clone(),
            self.target.name.clone(),
            self.target.lasts,
        );
        // What arrived and was not yielded goes back at once instead of after the ack wait.
        runtime.spawn(async move {
            let unseen = leave(arrivals).await;
            if !lasts {
                let _ = context.delete_consumer_from_stream(name, stream).await;
                return;
            }
            for reply in unseen.into_iter().filter_map(|message| message.reply) {
                let _ = context.client().publish(reply, "-NAK".into()).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_forms_of_a_reply_subject_tell_the_attempt() {
        assert_eq!(super::attempts("$JS.ACK.orders.billing.3.17.12.1700000000000000000.0"), Some(3));
        assert_eq!(super::attempts("$JS.ACK._.acc.orders.billing.3.17.12.1700000000000000000.0.x"), Some(3));
        assert_eq!(super::attempts("somewhere.else"), None);
    }
}
