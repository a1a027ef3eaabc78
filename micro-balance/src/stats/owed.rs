//! Since when an endpoint has owed an answer: what an estimate of its latency cannot know until one comes. Where there is no
//! estimate, how many have come.

use crate::{
    atomic::{AtomicU64, Ordering::Relaxed},
    clock::Moment,
};

/// After how long the next request begins the wait anew, in nanoseconds: so that one that is never to be answered
/// does not keep all others away.
const ANEW: u64 = 5_000_000_000;

/// Set where answers are counted.
const COUNTS: u64 = 1 << 63;

/// When the first request came since anything was heard of those before; 0 while nobody waits.
///
/// Each request that may set it clears it when it is answered, fails or is given up, so that it is 0 once none is left
/// that waits. An answer clears it for those that still wait as well: the next request sets it again.
///
/// Where latencies are not measured it is the number of answers, above all times: so nobody is ever silent there. Of two that
/// come at once one may be missed, as only whether any has come is asked for.
#[derive(Debug)]
pub(super) struct Owed(AtomicU64);

impl Owed {
    /// Of an endpoint whose latency is measured, or not.
    pub(super) fn new(measured: bool) -> Self {
        Self(AtomicU64::new(if measured { 0 } else { COUNTS }))
    }

    /// What differs after an answer, where answers are counted.
    #[inline]
    pub(super) fn answers(&self) -> u32 {
        self.0.load(Relaxed) as u32
    }

    /// An answer has come.
    #[inline]
    pub(super) fn answered(&self) {
        if self.0.load(Relaxed) < COUNTS { self.0.store(0, Relaxed) } else { self.count() }
    }

    /// An answer has come, where answers are counted.
    #[inline]
    pub(super) fn count(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// A request that waits for an answer begins.
    #[inline]
    pub(super) fn begin(&self, now: Moment) {
        let since = self.0.load(Relaxed);
        if since == 0 || now.get().saturating_sub(since) > ANEW {
            self.0.store(now.get(), Relaxed);
        }
    }

    /// A request that began waits no longer, for whatever reason.
    pub(super) fn end(&self) {
        if self.0.load(Relaxed) < COUNTS {
            self.0.store(0, Relaxed);
        }
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
        let owed = Owed::new(true);
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
        let owed = Owed::new(true);
        owed.begin(at(0));
        owed.begin(at(5));
        assert!(!owed.is_overdue(at(5).get()) && owed.is_overdue(at(6).get()));
        owed.begin(at(6));
        assert_eq!(owed.silence(at(7).get()), 1_000_000_000);
    }

    #[test]
    fn where_latencies_are_not_measured_answers_are_counted_and_nobody_is_silent() {
        let owed = Owed::new(false);
        let before = owed.answers();
        owed.begin(at(1));
        owed.end();
        assert_eq!(
            (owed.answers(), owed.silence(at(9).get()), owed.is_overdue(at(9).get())),
            (before, 0, false)
        );
        owed.answered();
        owed.begin(at(9));
        assert!(owed.answers() != before && owed.silence(at(99).get()) == 0);
        let before = owed.answers();
        owed.count();
        assert!(owed.answers() != before);
    }
}
