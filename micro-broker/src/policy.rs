//! What becomes of events that fail.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::confirm::Confirm;
use crate::error::Error;
use crate::event::Event;
use crate::subscribe::Subscribe;

/// Where events go that nobody could handle; every [`Broker`](crate::Broker) is one.
pub trait DeadLetters: Debug + Send + Sync {
    /// Publishes a dead letter.
    fn put(&self, letter: Event, within: Duration) -> Confirm;

    /// Resolves once the broker has heard every acknowledgement so far.
    fn heard(&self) -> BoxFuture<'_, Result<(), Error>>;
}

/// What a subscription does with events that fail.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) subscribe: Subscribe,
    pub(crate) letters: Arc<dyn DeadLetters>,
}
