//! gRPC's retry throttle: failures cost a token, successes earn a fraction of one.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use crate::setting::InvalidSetting;

/// The ratio has three decimals, so tokens are counted in thousandths.
const TOKEN: i64 = 1000;

#[derive(Debug)]
pub(super) struct Tokens {
    max: i64,
    ratio: i64,
    left: AtomicI64,
}

impl Tokens {
    pub(super) fn new(max: u32, ratio: f64) -> Result<Self, InvalidSetting> {
        if !(1..=1000).contains(&max) {
            return Err(InvalidSetting::new("maxTokens of a retry throttle", max, "between 1 and 1000"));
        }
        // 1.001 times a thousand is a little less than 1001.
        let ratio_thousandths = (ratio * TOKEN as f64 + 1e-6) as i64;
        if !ratio.is_finite() || ratio_thousandths < 1 {
            return Err(InvalidSetting::new("tokenRatio of a retry throttle", ratio, "at least 0.001"));
        }
        let max = i64::from(max) * TOKEN;
        Ok(Self { max, ratio: ratio_thousandths.min(max), left: AtomicI64::new(max) })
    }

    pub(super) fn succeeded(&self) {
        // A full bucket, the usual state, is left alone: no write on the request path.
        if self.left.load(Relaxed) < self.max {
            self.change(self.ratio);
        }
    }

    /// Takes the token and says whether more than half of all is left.
    pub(super) fn failed(&self) -> bool {
        self.change(-TOKEN) > self.max / 2
    }

    /// Whether more than half of all is left.
    pub(super) fn are_enough(&self) -> bool {
        self.left.load(Relaxed) > self.max / 2
    }

    /// How many failures in a row may be followed by a retry each.
    pub(super) fn balance(&self) -> u64 {
        let spare = self.left.load(Relaxed) - self.max / 2;
        (spare - 1).max(0) as u64 / TOKEN as u64
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> f64 {
        self.left.load(Relaxed) as f64 / TOKEN as f64
    }

    fn change(&self, amount: i64) -> i64 {
        let changed = |left: i64| (left + amount).clamp(0, self.max);
        match self.left.fetch_update(Relaxed, Relaxed, |left| Some(changed(left))) {
            Ok(before) | Err(before) => changed(before),
        }
    }
}
