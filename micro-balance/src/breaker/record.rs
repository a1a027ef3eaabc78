//! What is known of the service, and who is let through.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
    time::Duration,
};

use tokio::time::Instant;

use super::rate::{Average, Rate};
use crate::{chance::Chance, retry::Backoff, saturating::end};

/// Whether requests are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// All are.
    Closed,
    /// None is.
    Open {
        /// For how long yet.
        left: Duration,
    },
    /// One is, or already on its way, and the service is taken for what becomes of it. Where nothing does, another is after as
    /// long again.
    HalfOpen,
}

/// When the service is left alone, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) failures: u32,
    pub(super) rate: Option<Rate>,
    pub(super) backoff: Backoff,
}

/// What all services of a layer share.
#[derive(Debug)]
pub(super) struct Record {
    rules: Rules,
    /// How often it has opened or closed; even while it is closed, which is all that a request looks at then.
    turn: AtomicU64,
    known: Mutex<Known>,
    chance: Chance,
}

#[derive(Debug)]
struct Known {
    /// Failures since the last success.
    row: u32,
    average: Option<Average>,
    gate: Gate,
    /// How often in a row it was opened, and for how long the last time.
    opened: u32,
    wait: Duration,
}

#[derive(Debug)]
enum Gate {
    Closed,
    Open(Instant),
    /// One finds out, and where it tells nothing until then, another.
    Probing(Instant),
}

impl Gate {
    /// Whether the next request is to find out, or for how long there is none.
    fn lets_through(&self) -> Result<bool, Duration> {
        match *self {
            Self::Closed => Ok(false),
            Self::Open(until) | Self::Probing(until) if until <= Instant::now() => Ok(true),
            Self::Open(until) => Err(until.saturating_duration_since(Instant::now())),
            Self::Probing(_) => Err(Duration::ZERO),
        }
    }
}

impl Known {
    fn new(rules: &Rules) -> Self {
        let average = rules.rate.map(|rate| Average::new(rate, Instant::now()));
        Self { row: 0, average, gate: Gate::Closed, opened: 0, wait: Duration::ZERO }
    }

    /// Takes how a request went, and says whether the service is to be left alone.
    fn fails_after(&mut self, well: bool, rules: &Rules) -> bool {
        self.row = if well { 0 } else { self.row.saturating_add(1) };
        let low = self.average.as_mut().is_some_and(|it| it.is_too_low_after(well, Instant::now()));
        !well && (low || (rules.failures > 0 && self.row >= rules.failures))
    }
}

impl Record {
    pub(super) fn new(rules: Rules, seed: u64) -> Arc<Self> {
        let known = Mutex::new(Known::new(&rules));
        Arc::new(Self { rules, turn: AtomicU64::new(0), known, chance: Chance::new(seed) })
    }

    /// Lets a request through, or says for how long none is.
    pub(super) fn admit(self: &Arc<Self>) -> Result<Pass, Duration> {
        let turn = self.turn.load(Acquire);
        if turn.is_multiple_of(2) {
            return Ok(Pass { record: self.clone(), turn, probes: false, open: true });
        }
        let mut known = self.known();
        let turn = self.turn.load(Acquire);
        let probes = known.gate.lets_through()?;
        if probes {
            known.gate = Gate::Probing(end(Instant::now(), known.wait));
        }
        Ok(Pass { record: self.clone(), turn, probes, open: true })
    }

    /// Whether nobody is let through.
    pub(super) fn is_open(&self) -> bool {
        !self.turn.load(Acquire).is_multiple_of(2) && self.known().gate.lets_through().is_err()
    }

    /// For how long nobody is let through yet.
    pub(super) fn left(&self) -> Duration {
        self.known().gate.lets_through().err().unwrap_or_default()
    }

    pub(super) fn state(&self) -> State {
        match self.known().gate {
            Gate::Closed => State::Closed,
            Gate::Probing(_) => State::HalfOpen,
            Gate::Open(until) => match until.saturating_duration_since(Instant::now()) {
                Duration::ZERO => State::HalfOpen,
                left => State::Open { left },
            },
        }
    }

    fn settle(&self, turn: u64, probes: bool, well: bool) {
        let mut known = self.known();
        // What was sent before it opened, or closed, says nothing of how the service is since.
        if self.turn.load(Acquire) != turn {
            return;
        }
        if probes && well {
            *known = Known::new(&self.rules);
            self.turn.store(turn + 1, Release);
        } else if probes || known.fails_after(well, &self.rules) {
            self.open(&mut known);
            self.turn.store(turn + if probes { 2 } else { 1 }, Release);
        }
    }

    fn open(&self, known: &mut Known) {
        known.wait = self.rules.backoff.wait_after(known.wait, known.opened, self.chance.fraction());
        known.opened = known.opened.saturating_add(1);
        known.gate = Gate::Open(end(Instant::now(), known.wait));
        tracing::info!(wait = ?known.wait, times = known.opened, "service fails and is left alone");
    }

    /// Whoever was to find out did not: the next request may.
    fn give_up(&self, turn: u64) {
        let mut known = self.known();
        if self.turn.load(Acquire) == turn {
            known.gate = Gate::Open(Instant::now());
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that was let through. Dropped without a word, it says nothing.
pub struct Pass {
    record: Arc<Record>,
    turn: u64,
    probes: bool,
    /// Nothing was said yet.
    open: bool,
}

impl Pass {
    /// The answer has begun. Its end may take days, and whoever finds out keeps the others waiting.
    pub(super) fn begins(&mut self) {
        if self.probes && std::mem::take(&mut self.open) {
            self.record.settle(self.turn, true, true);
        }
    }

    /// Says whether the service did what it was asked.
    pub fn settle(mut self, well: bool) {
        self.open = false;
        self.record.settle(self.turn, self.probes, well);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.open && self.probes {
            self.record.give_up(self.turn);
        }
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("probes", &self.probes).finish_non_exhaustive()
    }
}
