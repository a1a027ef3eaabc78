//! What a pick has to know of an endpoint, in one word: what is in flight, and whether requests may go there.

use crate::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Set while the endpoint is not connected.
pub(crate) const LOST: u8 = 1;
/// Set while the endpoint is ejected.
pub(crate) const EJECTED: u8 = 2;
/// Set while the driver has yet to hear that the endpoint is failing; bars nothing.
pub(super) const REPORTED: u8 = 4;
/// Set while active checks find the endpoint unwell.
pub(crate) const UNWELL: u8 = 8;
/// Set while a request has the one permit of a half-open endpoint; bars nothing.
pub(super) const PROBING: u8 = 16;

/// From the lowest bit on: bars, requests in flight, and picks, which is all that is left.
const BARS: u32 = 5;
const IN_FLIGHT: u32 = 24;
const PICKS: u32 = 64 - BARS - IN_FLIGHT;
/// Half of what there is room for: see [`Load::counts`].
const HALF: u32 = PICKS - 1;

/// One request in flight, and one pick.
const ONE: u64 = 1 << BARS;
const PICK: u64 = 1 << (BARS + IN_FLIGHT);

/// Bars, requests in flight and picks.
///
/// A request adds to it where it starts and takes from it where it ends. Whoever reads it sees all of them at the
/// same moment, so that what is in flight is never negative and what finished is known without a counter of its own.
///
/// Should there ever be more than 2²⁴ requests in flight, they look like so many fewer and one more pick, until they
/// end. Picks begin again after 2³⁵: see [`Load::counts`].
#[derive(Debug)]
pub(super) struct Load(AtomicU64);

/// How many requests there were and are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) picks: u64,
    pub(super) in_flight: u64,
}

impl Counts {
    /// How often as many were picked as half of the word has room for.
    pub(super) fn halves(self) -> u32 {
        (self.picks >> HALF) as u32
    }
}

impl Load {
    /// Of an endpoint that has had no request, and is barred by `bars`.
    pub(super) fn new(bars: u8) -> Self {
        Self(AtomicU64::new(bars.into()))
    }

    #[inline]
    pub(super) fn start(&self) {
        self.0.fetch_add(PICK + ONE, Relaxed);
    }

    /// Ends a request. Whoever sees that it has ended sees what was written before.
    #[inline]
    pub(super) fn finish(&self) {
        self.0.fetch_sub(ONE, Release);
    }

    #[inline]
    pub(super) fn in_flight(&self) -> u64 {
        in_flight(self.0.load(Relaxed))
    }

    /// Whether fewer are in flight here than at `other`.
    #[inline]
    pub(super) fn is_below(&self, other: &Self) -> bool {
        // Where they stand in the word: to compare them there saves moving both.
        let in_flight = |load: &Self| load.0.load(Relaxed) & (PICK - ONE);
        in_flight(self) < in_flight(other)
    }

    /// The counts, where there were `halves` before, or one more: halves of what the word has room for.
    pub(super) fn counts(&self, halves: u32) -> Counts {
        let word = self.0.load(Acquire);
        let picks = word >> (BARS + IN_FLIGHT);
        let halves = u64::from(halves) + ((u64::from(halves) ^ picks >> HALF) & 1);
        Counts { picks: halves << HALF | picks & ((1 << HALF) - 1), in_flight: in_flight(word) }
    }

    /// Whether none of `bars` bars it.
    #[inline]
    pub(super) fn is_open(&self, bars: u8) -> bool {
        self.0.load(Relaxed) & u64::from(bars) == 0
    }

    /// Sets a bar, and says whether it was not set before.
    pub(super) fn bar(&self, bar: u8) -> bool {
        self.0.fetch_or(bar.into(), AcqRel) & u64::from(bar) == 0
    }

    pub(super) fn unbar(&self, bar: u8) {
        self.0.fetch_and(!u64::from(bar), AcqRel);
    }
}

#[inline]
fn in_flight(word: u64) -> u64 {
    word >> BARS & ((1 << IN_FLIGHT) - 1)
}

#[cfg(all(test, not(micro_loom)))]
mod tests {
    use super::*;

    #[test]
    fn bars_and_counts_do_not_touch_each_other() {
        let load = Load::new(LOST);
        load.start();
        load.start();
        assert!(load.bar(EJECTED) && !load.bar(EJECTED) && load.bar(UNWELL));
        load.unbar(LOST);
        load.finish();
        assert_eq!(load.counts(0), Counts { picks: 2, in_flight: 1 });
        assert!(load.is_open(LOST) && !load.is_open(EJECTED) && !load.is_open(LOST | UNWELL));
        load.finish();
        assert_eq!((load.in_flight(), load.counts(0).picks), (0, 2));
    }

    #[test]
    fn the_less_busy_is_told_whatever_else_the_words_say() {
        let (idle, busy) = (Load::new(LOST | EJECTED | UNWELL), Load::new(0));
        idle.start();
        idle.start();
        idle.finish();
        idle.finish();
        busy.start();
        assert!(idle.is_below(&busy) && !busy.is_below(&idle) && !idle.is_below(&idle));
    }

    #[test]
    fn picks_go_on_where_their_part_of_the_word_begins_again() {
        let load = Load(AtomicU64::new(((1 << HALF) - 1) << (BARS + IN_FLIGHT)));
        for halves in 0..5 {
            assert_eq!(
                load.counts(halves),
                Counts { picks: ((u64::from(halves) + 1) << HALF) - 1, in_flight: 0 }
            );
            load.start();
            let counts = load.counts(halves);
            assert_eq!(counts, Counts { picks: (u64::from(halves) + 1) << HALF, in_flight: 1 });
            assert_eq!((counts.halves(), load.counts(halves + 1)), (halves + 1, counts));
            load.finish();
            load.0.fetch_add(((1 << HALF) - 1) * PICK, Relaxed);
        }
    }
}
