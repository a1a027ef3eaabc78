//! What no balancer can do without, on bare words: what two threads pay beyond it is the balancer's, the rest is
//! the machine's and the task's.

use std::{
    hint::black_box,
    sync::atomic::{
        AtomicU64,
        Ordering::{Relaxed, Release},
    },
};

use micro_balance::Chance;

/// A word on a line of the cache of its own, and on one that is not fetched with another.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Line(AtomicU64);

/// One word for each endpoint that counts what is in flight, and one for all that says whose turn it is.
#[derive(Debug)]
pub(super) struct Floor {
    turn: Line,
    endpoints: Vec<Line>,
}

impl Floor {
    pub(super) fn new(count: usize) -> Self {
        Self { turn: Line::default(), endpoints: (0..count).map(|_| Line::default()).collect() }
    }

    /// A word of the thread's own is added to: what two processors pay for being two.
    pub(super) fn apart() -> Box<dyn FnMut(u64)> {
        let line = Box::new(Line::default());
        Box::new(move |times| {
            for _ in 0..times {
                black_box(line.0.fetch_add(1, Relaxed));
            }
        })
    }

    /// Two endpoints are looked at, and the less busy one is counted in and out.
    pub(super) fn less_busy(&self) -> Box<dyn FnMut(u64) + '_> {
        let chance = Chance::new(fastrand::u64(..));
        Box::new(move |times| {
            for _ in 0..times {
                let (first, second) = chance.two_below(self.endpoints.len());
                let (first, second) = (&self.endpoints[first], &self.endpoints[second]);
                let fewer = second.0.load(Relaxed) < first.0.load(Relaxed);
                through(if fewer { second } else { first });
            }
        })
    }

    /// Whose turn it is is counted in and out.
    pub(super) fn in_turn(&self) -> Box<dyn FnMut(u64) + '_> {
        Box::new(move |times| {
            for _ in 0..times {
                let turn = self.turn.0.fetch_add(1, Relaxed) as usize;
                through(&self.endpoints[turn % self.endpoints.len()]);
            }
        })
    }
}

fn through(endpoint: &Line) {
    black_box(endpoint).0.fetch_add(1, Relaxed);
    black_box(endpoint).0.fetch_sub(1, Release);
}
