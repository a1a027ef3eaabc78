//! The trait every backend implements.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::confirm::Confirm;
use crate::error::Error;
use crate::event::Event;
use crate::policy::DeadLetters;
use crate::subscribe::Subscribe;
use crate::subscription::Subscription;

/// A broker: events go in, and come out at those who subscribed.
///
/// [`open`](crate::open) makes one from a URL. What is promised depends on the backend: see the table in the
/// [crate's documentation](crate).
pub trait Broker: Debug + Send + Sync {
    /// Publishes an event; resolves once the backend has confirmed it as far as it can, at the latest after `within`.
    ///
    /// # Errors
    ///
    /// [`Error::is_unpublished`] tells whether the event is known not to have been published.
    fn publish(&self, event: Event, within: Duration) -> Confirm;

    /// Subscribes; resolves once events published from now on will be delivered.
    ///
    /// # Errors
    ///
    /// When the topic breaks a rule of the backend, or the broker cannot be reached now. Once a subscription exists it
    /// outlives every reconnection.
    fn subscribe(&self, subscribe: Subscribe) -> BoxFuture<'_, Result<Subscription, Error>>;

    /// Deletes a group and what waits in it. Its members get nothing more.
    ///
    /// # Errors
    ///
    /// When the broker cannot be reached. A group that does not exist is no error.
    fn forget<'a>(&'a self, topic: &'a str, group: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Resolves once the broker has everything this process has sent it, acknowledgements included.
    ///
    /// # Errors
    ///
    /// When the broker does not answer within a few seconds.
    fn flush(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sends what is waiting to be sent and leaves the broker; afterwards every request is [`Error::Closed`].
    fn close(&self) -> BoxFuture<'_, ()>;

    /// The backend's name, for errors and reports.
    fn backend(&self) -> &'static str;
}

impl<B: Broker> DeadLetters for B {
    fn put(&self, letter: Event, within: Duration) -> Confirm {
        self.publish(letter, within)
    }

    fn heard(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.flush()
    }
}
