//! Goes on where a connection was lost, or a client has ended over an event that it cannot read.

use std::sync::Arc;

use super::Pull;
use crate::error::Error;
use crate::event::Event;
use crate::nats::link::{ANSWER, PAUSE, Status, context};
use crate::nats::salvage::{self, Salvaged};

impl Pull {
    /// Follows the connection. `None` when the broker was closed.
    pub(super) async fn follow(&mut self) -> Option<()> {
        let now = self.status.borrow_and_update().clone();
        if now.closed {
            return None;
        }
        if self.tell(now) {
            self.restore().await;
            self.salvage().await;
        }
        Some(())
    }

    /// Reports the connection's status, and tells whether it was restored.
    fn tell(&mut self, now: Status) -> bool {
        let restored = now.up && now.connections > self.connections;
        if restored {
            self.connections = now.connections;
        }
        self.report.send_modify(|report| {
            report.connected = now.up;
            report.restored += u64::from(restored);
            report.trouble = now.trouble;
        });
        restored
    }

    /// Goes on with another client where the one it had has ended. `None` when the broker was closed.
    ///
    /// It may have ended over an event, and with it what was told of those that came just before, while it was ending: they
    /// would come together with that one again, for ever, and it would not be the oldest. So they come one by one.
    pub(super) async fn renew(&mut self) -> Option<()> {
        loop {
            match self.hand.link.client(ANSWER).await {
                Ok(client) => {
                    let inbox = client.new_inbox();
                    if let Ok(arrivals) = client.subscribe(inbox.clone()).await {
                        self.target.use_context(&context(&client));
                        self.hand.client.store(client);
                        (self.inbox, self.arrivals) = (inbox, Some(arrivals));
                        break;
                    }
                }
                Err(Error::Closed { .. }) => return None,
                Err(_) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.wary = self.limit;
        // What follows is for this connection, and would ask a second time for each one.
        let now = self.status.borrow_and_update().clone();
        self.tell(now);
        self.restore().await;
        self.salvage().await;
        Some(())
    }

    /// Looks whether the connection was given up over an event that the client cannot read, and takes it all the same.
    async fn salvage(&mut self) {
        let (client, target) = (self.hand.client.load_full(), &self.target);
        let found = salvage::oldest(&client, &target.stream, &target.name, &target.config.filter_subject);
        let Some(Salvaged { sequence, message }) = found.await else { return };
        let attempt = match &self.last_unreadable {
            Some((known, _, held)) if *known == sequence && held.strong_count() > 0 => return,
            Some((known, attempt, _)) if *known == sequence => attempt + 1,
            _ => 1,
        };
        let Some((event, held)) = self.event(message) else { return };
        self.last_unreadable = Some((sequence, attempt, Arc::downgrade(&held)));
        self.unreadable = Some((Event { attempt, ..event }, held));
    }

    /// Sees that the consumer is there, and starts asking from nothing.
    pub(super) async fn restore(&mut self) {
        if let Err(error) = self.target.create_anew().await {
            tracing::debug!(consumer = self.target.name, %error, "the consumer is not back yet");
            tokio::time::sleep(PAUSE).await;
        }
        self.ask = self.target.ask();
        self.asked = 0;
    }
}
