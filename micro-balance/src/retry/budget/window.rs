//! Tokens that are earned by requests and expire.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicI64, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::setting::InvalidSetting;

/// How finely tokens expire: in tenths of their lifetime.
const SLOTS: u64 = 10;

/// One token in fixed point. Deposits are fractions of it, so whole numbers would round them away.
const TOKEN: i64 = 1 << 32;

/// Sums deposits and withdrawals over the last `ttl`.
///
/// A deposit is one atomic addition. Whatever happens less often, once a slot or once a retry, is done under
/// a mutex, so a withdrawal sees every deposit before it and two of them never share a token.
#[derive(Debug)]
pub(super) struct Window {
    deposit: i64,
    reserve: i64,
    slot: u64,
    epoch: Instant,
    current: AtomicU64,
    slots: [AtomicI64; SLOTS as usize],
    turning: Mutex<()>,
}

impl Window {
    pub(super) fn new(ratio: f64, min_per_second: u32, ttl: Duration) -> Result<Self, InvalidSetting> {
        if !(0.0..=10.0).contains(&ratio) {
            return Err(InvalidSetting::new("the ratio of a retry budget", ratio, "between 0 and 10"));
        }
        if min_per_second > 1_000_000 {
            return Err(InvalidSetting::new(
                "the minimum of a retry budget",
                min_per_second,
                "at most 1000000 per second",
            ));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&ttl) {
            return Err(InvalidSetting::new("the ttl of a retry budget", ttl, "between 1 s and 60 s"));
        }
        Ok(Self {
            deposit: (ratio * TOKEN as f64).round() as i64,
            reserve: (f64::from(min_per_second) * ttl.as_secs_f64()).round() as i64 * TOKEN,
            slot: ttl.as_nanos() as u64 / SLOTS,
            epoch: Instant::now(),
            current: AtomicU64::new(0),
            slots: Default::default(),
            turning: Mutex::new(()),
        })
    }

    pub(super) fn deposit(&self, now: Instant) {
        let time = self.time(now);
        if time > self.current.load(Acquire) {
            self.turn(time, &self.turning());
        }
        self.add(self.deposit);
    }

    pub(super) fn withdraw(&self) -> bool {
        let guard = self.turning();
        self.turn(self.time(Instant::now()), &guard);
        let enough = self.sum() >= TOKEN;
        if enough {
            self.add(-TOKEN);
        }
        enough
    }

    pub(super) fn refund(&self) {
        self.add(TOKEN);
    }

    /// Whole tokens that can be withdrawn now.
    pub(super) fn balance(&self) -> u64 {
        let guard = self.turning();
        self.turn(self.time(Instant::now()), &guard);
        (self.sum() / TOKEN).max(0) as u64
    }

    fn time(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_nanos() as u64 / self.slot
    }

    fn turning(&self) -> MutexGuard<'_, ()> {
        self.turning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Empties the slots that expired up to `time`. A deposit that races with it may count as one slot older.
    fn turn(&self, time: u64, _turning: &MutexGuard<'_, ()>) {
        let current = self.current.load(Relaxed);
        for expired in (current + 1..=time).take(SLOTS as usize) {
            self.slots[(expired % SLOTS) as usize].store(0, Relaxed);
        }
        if time > current {
            // Every slot is clean once more than a whole turn has passed, whichever is current then.
            self.current.store(time, Release);
        }
    }

    fn add(&self, amount: i64) {
        self.slots[(self.current.load(Acquire) % SLOTS) as usize].fetch_add(amount, Relaxed);
    }

    fn sum(&self) -> i64 {
        self.slots.iter().fold(self.reserve, |sum, slot| sum.saturating_add(slot.load(Relaxed)))
    }
}
