//! Since when an endpoint has owed an answer: what an estimate of its latency cannot know until one comes.

use crate::{
    atomic::{AtomicU64, Ordering::Relaxed},
    clock::Moment,
};

/// After how long the next request begins the wait anew, in nanoseconds: so that one that is never to be answered
/// does not keep all others away.
const ANEW: u64 = 5_000_000_000;

/// When the first request came since anything was heard of those before; 0 while nobody waits.
///
/// Each request that may set it clears it when it is answered, fails or is given up, so that it is 0 once none is left
/// that waits. An answer clears it for those that still wait as well: the next request sets it again.
#[derive(Debug)]
pub(super) struct Owed(AtomicU64);

impl Owed {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A request that waits for an answer begins.
    #[inline]
    pub(super) fn begin(&self, now: Moment) {
        let since = self.0.load(Relaxed);
        if since == 0 || now.get().saturating_sub(since) > ANEW {
            self.0.store(now.get(), Relaxed);
        }
    }

    /// A request that began waits no longer.
    #[inline]
    pub(super) fn end(&self) {
        self.0.store(0, Relaxed);
    }

    /// For how long nothing has come, in nanoseconds.
    #[inline]
    pub(super) fn silence(&self, now: u64) -> u64 {
        match self.0.load(Relaxed) {
            0 => 0,
            since => now.saturating_sub(since),
        }
    }

    /// Whether it has been silent for so long that the next request begins the wait anew.
    pub(super) fn is_overdue(&self, now: u64) -> bool {
        self.silence(now) > ANEW
    }
}

#[cfg(all(test, not(micro_loom)))]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::MIN.saturating_add(seconds * 1_000_000_000)
    }

    #[test]
    fn silence_begins_with_the_first_request_since_the_last_answer() {
        let owed = Owed::new();
        assert_eq!(owed.silence(at(9).get()), 0, "nobody waits");
        owed.begin(at(1));
        owed.begin(at(2));
        assert_eq!(owed.silence(at(4).get()), 3_000_000_000);
        owed.end();
        assert_eq!(owed.silence(at(4).get()), 0);
        owed.begin(at(5));
        assert_eq!(owed.silence(at(6).get()), 1_000_000_000);
    }

    #[test]
    fn a_request_after_a_long_silence_begins_the_wait_anew() {
        let owed = Owed::new();
        owed.begin(at(0));
        owed.begin(at(5));
        assert!(!owed.is_overdue(at(5).get()) && owed.is_overdue(at(6).get()));
        owed.begin(at(6));
        assert_eq!(owed.silence(at(7).get()), 1_000_000_000);
    }
}
