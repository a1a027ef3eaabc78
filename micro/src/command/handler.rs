//! What a command is.

use std::fmt::Debug;

use futures_core::future::BoxFuture;
use tokio::sync::mpsc;

use super::context::Context;
use super::failure::{Failure, Kind};
use super::reply::Reply;

/// Something that can be done, with its arguments.
pub trait Command: Debug + Send + Sync {
    /// Does it. What there is to show goes to `replies`, also before a failure.
    ///
    /// # Errors
    ///
    /// Why it could not be done.
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>>;

    /// Whether it goes on until the context says stop; that is then its success.
    fn is_endless(&self) -> bool {
        false
    }

    /// Whether who waits at a terminal is to see that there is no reply yet: not who types what it reads, as that would be
    /// written over, nor where no reply is to come.
    fn shows_that_it_waits(&self) -> bool {
        true
    }

    /// How many threads it wants to work on; 0 is one per processor.
    fn workers(&self) -> usize {
        1
    }
}

/// Where a command's replies go: to the face that asked for it.
#[derive(Clone, Debug)]
pub struct Replies {
    sender: mpsc::Sender<Reply>,
}

impl Replies {
    /// Replies, and where they come out. A command waits while 16 of them are not taken.
    pub fn channel() -> (Self, mpsc::Receiver<Reply>) {
        let (sender, receiver) = mpsc::channel(16);
        (Self { sender }, receiver)
    }

    /// Ends when nobody takes replies any more.
    pub async fn unread(&self) {
        self.sender.closed().await;
    }

    /// Gives one reply.
    ///
    /// # Errors
    ///
    /// [`Kind::Unread`] when nobody takes replies any more: then there is no use in going on.
    pub async fn send(&self, reply: Reply) -> Result<(), Failure> {
        let sent = self.sender.send(reply).await;
        sent.map_err(|_| Failure::new(Kind::Unread, "nobody reads the replies any more"))
    }
}
