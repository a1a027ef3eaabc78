//! What a backend hears of the events it delivered.

use std::fmt::Debug;
use std::time::Duration;

use crate::confirm::Confirm;
use crate::event::Event;

/// How a backend hears what became of an event it delivered.
pub trait Settle: Debug + Send + Sync {
    /// The event was handled.
    fn ack(&self) -> Confirm;

    /// The event was not handled and is to come again, not before `after` has passed.
    fn nack(&self, event: Event, after: Duration) -> Confirm;

    /// The event was not looked at, or nobody knows how far it was handled: it is to come again at once.
    fn release(&self, event: Event);

    /// Tells the backend that the event is still being worked on.
    fn renew(&self) {}

    /// How often the backend wants to hear [`Settle::renew`]; `None` when it waits for ever.
    fn renew_every(&self) -> Option<Duration> {
        None
    }
}
