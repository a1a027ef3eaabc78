//! Tokens that are earned by requests and expire.

use std::time::Duration;

use tokio::time::Instant;

use crate::{setting::InvalidSetting, sliding::Sliding};

/// One token in fixed point. Deposits are fractions of it, so whole numbers would round them away.
const TOKEN: i64 = 1 << 32;

/// Sums deposits and withdrawals over the last `ttl`.
///
/// A deposit is one atomic addition. Withdrawals take turns, so each sees every deposit before it and two of
/// them never share a token.
#[derive(Debug)]
pub(super) struct Window {
    deposit: i64,
    reserve: i64,
    sum: Sliding<1>,
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
            sum: Sliding::new(ttl),
        })
    }

    pub(super) fn deposit(&self, now: Instant) {
        self.sum.add(0, self.deposit, now);
    }

    pub(super) fn withdraw(&self) -> bool {
        let still = self.sum.still(Instant::now());
        let enough = self.reserve.saturating_add(still.sum(0)) >= TOKEN;
        if enough {
            still.put(0, -TOKEN);
        }
        enough
    }

    pub(super) fn refund(&self) {
        self.sum.put(0, TOKEN);
    }

    /// Whole tokens that can be withdrawn now.
    pub(super) fn balance(&self) -> u64 {
        let sum = self.sum.still(Instant::now()).sum(0);
        (self.reserve.saturating_add(sum) / TOKEN).max(0) as u64
    }
}
