//! How far a stream has come, for whoever must know whether something on it was sent.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many chunks of a stream were written, and from which on they provably reached nobody.
///
/// A byte stream of the system knows nothing of the kind: its chunks are none, and all may have arrived.
#[derive(Debug)]
pub(crate) struct Progress {
    written: AtomicU64,
    lost_from: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Self { written: AtomicU64::new(0), lost_from: AtomicU64::new(u64::MAX) }
    }
}

impl Progress {
    /// How many chunks there are: what is written from now on belongs to later ones.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Whether all that was written after [`written`](Self::written) gave `mark` reached nobody.
    pub(crate) fn is_lost(&self, mark: u64) -> bool {
        self.lost_from.load(Relaxed) <= mark
    }

    #[cfg(any(feature = "nats", feature = "rabbitmq"))]
    pub(super) fn write(&self) -> u64 {
        self.written.fetch_add(1, Relaxed)
    }

    #[cfg(any(feature = "nats", feature = "rabbitmq"))]
    pub(super) fn lose(&self, from: u64) {
        self.lost_from.fetch_min(from, Relaxed);
    }
}
