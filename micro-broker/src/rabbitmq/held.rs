//! An event in hand, and how the server hears what became of it.

use std::sync::Arc;
use std::time::Duration;

use lapin::{Acker, Channel};

use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::sync::mpsc;

use crate::confirm::Confirm;
use crate::error::Error;
use crate::event::Event;
use crate::rabbitmq::BACKEND;
use crate::settle::Settle;
use crate::subscription::Incoming;

pub(super) const REQUEUE: BasicNackOptions = BasicNackOptions { multiple: false, requeue: true };

/// An event in hand.
#[derive(Debug)]
pub(super) struct Held {
    inner: Arc<Inner>,
    /// Where it is tried again, when the queue does not count attempts.
    again: Option<mpsc::UnboundedSender<Incoming>>,
}

/// The channel stays open as long as there is something to acknowledge on it.
#[derive(Debug)]
struct Inner {
    channel: Arc<Channel>,
    acker: Acker,
}

impl Held {
    pub(super) fn new(
        channel: Arc<Channel>,
        acker: Acker,
        again: Option<mpsc::UnboundedSender<Incoming>>,
    ) -> Self {
        Self { inner: Arc::new(Inner { channel, acker }), again }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // An acknowledgement that was never polled was never sent.
        if self.acker.usable()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let acker = self.acker.clone();
            runtime.spawn(async move { acker.nack(REQUEUE).await });
        }
    }
}

impl Inner {
    fn heard(&self, told: lapin::Result<bool>) -> Result<(), Error> {
        let lost = |source| Err(Error::Unavailable { backend: BACKEND, source });
        match told {
            Ok(true) if self.channel.status().connected() => Ok(()),
            Ok(_) => lost("the connection the event came by is lost".into()),
            Err(error) => lost(error.into()),
        }
    }
}

impl Settle for Held {
    fn ack(&self) -> Confirm {
        let inner = self.inner.clone();
        Confirm::awaited(async move { inner.heard(inner.acker.ack(BasicAckOptions::default()).await) })
    }

    fn nack(&self, event: Event, after: Duration) -> Confirm {
        let (inner, again) = (self.inner.clone(), self.again.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            match again {
                None => drop(inner.acker.nack(REQUEUE).await),
                Some(again) if inner.channel.status().connected() => {
                    let event = Event { attempt: event.attempt + 1, ..event };
                    let held = Arc::new(Self { inner: inner.clone(), again: Some(again.clone()) });
                    if again.send((event, held)).is_err() {
                        // The subscription ended meanwhile: another one may take it.
                        let _ = inner.acker.nack(REQUEUE).await;
                    }
                }
                Some(_) => {}
            }
        });
        Confirm::known(Ok(()))
    }

    fn release(&self, _: Event) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let inner = self.inner.clone();
            runtime.spawn(async move { inner.acker.nack(REQUEUE).await });
        }
    }
}
