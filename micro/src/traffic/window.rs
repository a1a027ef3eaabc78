//! The last two minutes of one endpoint, in a ring of slots of five seconds.

use super::count::{Count, STEPS};
use super::series::{Minute, Series};

/// How many slots are kept: two minutes.
pub(super) const SLOTS: usize = 24;
/// How many of them are a minute.
const MINUTE: u64 = 12;

/// Counts by slots.
#[derive(Clone, Debug)]
pub(super) struct Window {
    slots: Box<[Slot; SLOTS]>,
    newest: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    requests: u32,
    failures: u32,
    millis: f32,
    steps: [u32; STEPS],
}

const EMPTY: Slot = Slot { requests: 0, failures: 0, millis: 0.0, steps: [0; STEPS] };

impl Default for Window {
    fn default() -> Self {
        Self { slots: Box::new([EMPTY; SLOTS]), newest: 0 }
    }
}

impl Window {
    pub(super) fn add(&mut self, slot: u64, count: &Count) {
        self.turn(slot);
        let now = &mut self.slots[place(slot)];
        now.requests = now.requests.saturating_add(count.requests);
        now.failures = now.failures.saturating_add(count.failures);
        now.millis += count.millis.clamp(0.0, 1e9) as f32;
        for (step, more) in count.steps() {
            now.steps[step] = now.steps[step].saturating_add(more);
        }
    }

    /// Empties the slots that have passed since the last request.
    fn turn(&mut self, slot: u64) {
        for passed in (self.newest + 1..=slot).take(SLOTS) {
            self.slots[place(passed)] = EMPTY;
        }
        self.newest = self.newest.max(slot);
    }

    pub(super) fn is_recent(&self, slot: u64) -> bool {
        slot < self.newest + SLOTS as u64
    }

    /// The slot that was `ago` slots before `now`, if it is still kept.
    fn at(&self, now: u64, ago: u64) -> Option<&Slot> {
        let slot = now.checked_sub(ago)?;
        let kept = slot <= self.newest && slot + SLOTS as u64 > self.newest;
        kept.then(|| &self.slots[place(slot)])
    }

    pub(super) fn series(&self, now: u64) -> Series {
        let mut series = Series::default();
        for (index, ago) in (1..SLOTS as u64).rev().enumerate() {
            if let Some(slot) = self.at(now, ago) {
                series.requests[index] = slot.requests;
                series.failures[index] = slot.failures;
                let mean = slot.millis / slot.requests.max(1) as f32;
                series.millis[index] = mean;
            }
        }
        series
    }

    pub(super) fn minute(&self, now: u64) -> Minute {
        let mut minute = Minute::default();
        for slot in (0..MINUTE).filter_map(|ago| self.at(now, ago)) {
            minute.requests += u64::from(slot.requests);
            minute.failures += u64::from(slot.failures);
            for (sum, step) in minute.steps.iter_mut().zip(slot.steps) {
                *sum += u64::from(step);
            }
        }
        minute
    }
}

fn place(slot: u64) -> usize {
    (slot % SLOTS as u64) as usize
}
