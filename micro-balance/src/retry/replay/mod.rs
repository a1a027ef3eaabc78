//! Request bodies that can be sent again, as far as they were kept.

mod body;
mod shared;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, task::Waker};

use bytes::Bytes;
use http_body::{Body, SizeHint};

pub use self::body::{Abandoned, ReplayBody};
use self::shared::{Link, Shared, lock};

/// Keeps what attempts read of a request body, and gives each attempt a body of its own.
///
/// Dropping it is the commitment to the present attempt: from then on nothing more is kept.
pub(crate) struct Replay<B> {
    shared: Link<B>,
    /// How long the body said it was at first.
    said: SizeHint,
}

impl<B> Replay<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// Keeps up to `cap` bytes of `body`, and nothing if it is known to be longer.
    pub(crate) fn new(body: B, cap: usize) -> Self {
        let said = body.size_hint();
        Self { shared: Shared::link(body, cap), said }
    }

    /// The body for the first attempt.
    pub(crate) fn first(&self) -> ReplayBody<B> {
        self.body(0).said(self.said)
    }

    /// The body for the next attempt, which abandons those before: they end in an error, never early.
    pub(crate) fn next(&self) -> ReplayBody<B> {
        let attempt = self.shared.as_ref().map_or(0, |shared| {
            let mut locked = lock(shared);
            locked.attempt += 1;
            let (attempt, waiting) = (locked.attempt, std::mem::take(&mut locked.waiting));
            drop(locked);
            waiting.into_iter().for_each(Waker::wake);
            attempt
        });
        self.body(attempt)
    }

    /// The body for an attempt beside the present one; `None` when something of it was not kept.
    ///
    /// Whichever attempt is ahead reads from the source for both. If the body then outgrows what may be
    /// kept, the one behind fails.
    pub(crate) fn beside(&self) -> Option<ReplayBody<B>> {
        let attempt = match &self.shared {
            Some(shared) => Some(lock(shared)).filter(|shared| shared.whole)?.attempt,
            None => 0,
        };
        Some(self.body(attempt))
    }

    /// Whether a next attempt would send the same body as the first.
    pub(crate) fn is_whole(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| lock(shared).whole)
    }

    /// The same, when nothing of the body has left: then its length does not matter.
    pub(crate) fn is_whole_or_untouched(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| {
            let shared = lock(shared);
            shared.whole || !shared.touched
        })
    }

    /// Whether all of the body has left, and would leave again.
    pub(crate) fn is_spent(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| {
            let shared = lock(shared);
            shared.whole && shared.source.as_ref().is_none_or(Body::is_end_stream)
        })
    }

    fn body(&self, attempt: u32) -> ReplayBody<B> {
        ReplayBody::new(self.shared.clone(), attempt)
    }
}

impl<B> Drop for Replay<B> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.as_ref().filter(|shared| Arc::strong_count(shared) > 1) {
            lock(shared).keeping = false;
        }
    }
}

impl<B> fmt::Debug for Replay<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").finish_non_exhaustive()
    }
}
