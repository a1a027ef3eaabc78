//! A broker as a `tower::Service<Event>`.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower::Service;

use crate::broker::Broker;
use crate::confirm::Confirm;
use crate::error::Error;
use crate::event::Event;

/// Publishes events: a [`Service`] whose `Ok` says that the broker has confirmed the event, as far as the backend can.
/// Clones share the broker.
///
/// It is always ready; a broker without room answers in the future it returns, within [`Publisher::within`].
#[derive(Clone, Debug)]
pub struct Publisher {
    broker: Arc<dyn Broker>,
    within: Duration,
}

impl Publisher {
    /// Publishes to `broker`, waiting 5 s for a confirmation unless told.
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        Self { broker, within: Duration::from_secs(5) }
    }

    /// How long a publication may wait for a broker, for room and for a confirmation, all told.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Publishes one event.
    ///
    /// # Errors
    ///
    /// [`Error::is_unpublished`] tells whether the event is known not to have been published.
    pub fn publish(&self, event: Event) -> Confirm {
        self.broker.publish(event, self.within)
    }
}

impl Service<Event> for Publisher {
    type Response = ();
    type Error = Error;
    type Future = Confirm;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: Event) -> Confirm {
        self.publish(event)
    }
}
