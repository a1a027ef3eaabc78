//! Envoy's retry budget: a share of the requests that are under way may be retries.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::setting::InvalidSetting;

#[derive(Debug)]
pub(super) struct Active {
    percent: u64,
    min: u32,
    calls: AtomicU32,
    retries: AtomicU32,
}

impl Active {
    pub(super) fn new(percent: f64, min: u32) -> Result<Self, InvalidSetting> {
        if !(0.0..=100.0).contains(&percent) {
            return Err(InvalidSetting::new(
                "the percentage of a retry budget",
                percent,
                "between 0 and 100",
            ));
        }
        // In thousandths of a percent.
        Ok(Self {
            percent: (percent * 1000.0).round() as u64,
            min,
            calls: AtomicU32::new(0),
            retries: AtomicU32::new(0),
        })
    }

    pub(super) fn open(&self) {
        self.calls.fetch_add(1, Relaxed);
    }

    pub(super) fn close(&self, retries: u32) {
        self.calls.fetch_sub(1, Relaxed);
        self.end(retries);
    }

    pub(super) fn retry(&self) -> bool {
        self.retries
            .fetch_update(Relaxed, Relaxed, |retries| (retries < self.limit()).then_some(retries + 1))
            .is_ok()
    }

    /// Starts a retry in place of one that has ended.
    pub(super) fn retry_next(&self) -> bool {
        self.retries.load(Relaxed) <= self.limit()
    }

    pub(super) fn end(&self, retries: u32) {
        if retries > 0 {
            self.retries.fetch_sub(retries, Relaxed);
        }
    }

    /// How many more retries may start now.
    pub(super) fn balance(&self) -> u32 {
        self.limit().saturating_sub(self.retries.load(Relaxed))
    }

    fn limit(&self) -> u32 {
        let share = u64::from(self.calls.load(Relaxed)) * self.percent / 100_000;
        self.min.max(u32::try_from(share).unwrap_or(u32::MAX))
    }
}
