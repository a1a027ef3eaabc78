//! Whole messages that a pipe carries beside its bytes, and in order with them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::Waker,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;

/// Takes what the other end says aside.
pub(crate) trait Hear: Send {
    /// Takes one message. Runs in the task that reads the pipe.
    fn hear(&mut self, message: Bytes);
}

/// Says things aside on a pipe, from anywhere. Clones speak on the same one.
///
/// What is said waits here until the pipe's task sends it. Whoever says something looks how much that is first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asides(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    messages: Mutex<VecDeque<Bytes>>,
    pipe: AtomicWaker,
    over: OnceLock<&'static str>,
}

impl Asides {
    /// Has the pipe send `message`, unless it is gone.
    pub(crate) fn say(&self, message: Bytes) {
        if self.0.over.get().is_none() {
            self.messages().push_back(message);
            self.0.pipe.wake();
        }
    }

    /// Why nothing more is heard, once that is so.
    pub(crate) fn why(&self) -> &'static str {
        self.0.over.get().copied().unwrap_or("the connection was closed")
    }

    /// The message to be sent next.
    pub(crate) fn next(&self) -> Option<Bytes> {
        self.messages().pop_front()
    }

    /// How many messages wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.messages().len()
    }

    /// Whom to wake when there is something to send.
    pub(super) fn register(&self, pipe: &Waker) {
        self.0.pipe.register(pipe);
    }

    /// Notes that the pipe is gone, and why where that is known.
    pub(super) fn end(&self, why: Option<&'static str>) {
        let _ = self.0.over.set(why.unwrap_or("the connection was closed"));
        self.messages().clear();
    }

    fn messages(&self) -> MutexGuard<'_, VecDeque<Bytes>> {
        self.0.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
