//! What a server that listens at a broker has: a name there, and the pipes that clients open.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use super::stream::Pipe;

/// How many pipes may wait to be accepted.
pub(super) const BACKLOG: usize = 1024;

/// The listening end at a broker.
pub(crate) struct Incoming {
    pub(super) pipes: mpsc::Receiver<Pipe>,
    pub(super) name: String,
    pub(super) hub: Arc<dyn Hub>,
}

/// A server's connection to a broker, which carries its pipes as long as it lives.
pub(super) trait Hub: Send + Sync {
    /// Lets no more pipes be opened.
    fn close(&self);

    /// Waits until all that was sent has left.
    fn flush(&self) -> BoxFuture<'_, ()>;
}

/// Waits for the word to let no more pipes be opened.
pub(super) async fn closed(closing: &mut watch::Receiver<bool>) {
    // Nobody is left to say it where that fails.
    let _ = closing.wait_for(|closing| *closing).await;
}

impl Incoming {
    /// What clients call.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The next pipe that a client opens.
    pub(crate) async fn accept(&mut self) -> Option<Pipe> {
        self.pipes.recv().await
    }

    /// Accepts no more, and gives what was opened before.
    pub(crate) fn close(&mut self) -> Vec<Pipe> {
        self.hub.close();
        self.pipes.close();
        std::iter::from_fn(|| self.pipes.try_recv().ok()).collect()
    }

    /// Waits until all that was sent has left.
    pub(crate) async fn flush(&self) {
        self.hub.flush().await;
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("name", &self.name).finish_non_exhaustive()
    }
}
