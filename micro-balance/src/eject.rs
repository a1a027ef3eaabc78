//! When an endpoint that fails is left out, and for how long.

use std::time::Duration;

/// Outlier ejection: leaves an endpoint out after failures in a row, and lets it back through a single
/// request or probe.
///
/// An ejection lasts `base`, one `base` more each time in a row, up to `max`. Then the endpoint is half open:
/// one request at a time may go there, and its outcome decides. Envoy calls this outlier detection,
/// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier>.
///
/// ```
/// use std::time::Duration;
/// use micro_balance::Ejection;
///
/// let ejection = Ejection::default().consecutive_failures(3).base(Duration::from_secs(1));
/// assert_eq!(ejection.time(2), Duration::from_secs(2));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Ejection {
    consecutive: u32,
    base: Duration,
    max: Duration,
    max_percent: u32,
    panic_percent: u32,
}

impl Default for Ejection {
    /// 5 failures in a row, 3 s and up to 10 s, at most 10 % of the endpoints but always one of two, and
    /// none while under 50 % could take requests.
    fn default() -> Self {
        Self {
            consecutive: 5,
            base: Duration::from_secs(3),
            max: Duration::from_secs(10),
            max_percent: 10,
            panic_percent: 50,
        }
    }
}

impl Ejection {
    /// Never ejects.
    pub fn off() -> Self {
        Self { consecutive: 0, ..Self::default() }
    }

    /// Ejects after `failures` in a row; 0 never does.
    pub fn consecutive_failures(mut self, failures: u32) -> Self {
        self.consecutive = failures;
        self
    }

    /// The first ejection lasts `base`, and each further one in a row `base` longer.
    pub fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// No ejection lasts longer than `max`, or than `base` if that is longer.
    pub fn max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// At most `percent` of the endpoints are out at once. One of at least two always may be.
    pub fn max_percent(mut self, percent: u32) -> Self {
        self.max_percent = percent.min(100);
        self
    }

    /// Ejections are ignored while fewer than `percent` of the endpoints would be left; 0 never ignores them.
    pub fn panic_percent(mut self, percent: u32) -> Self {
        self.panic_percent = percent.min(100);
        self
    }

    /// How long ejection number `times` in a row lasts, counted from 1.
    pub fn time(&self, times: u32) -> Duration {
        self.base.saturating_mul(times.max(1)).min(self.max.max(self.base))
    }

    pub(crate) fn consecutive(&self) -> u32 {
        self.consecutive
    }

    /// Whether one more of `total` endpoints may go when `ejected` are out.
    pub(crate) fn allows(&self, ejected: usize, total: usize) -> bool {
        total >= 2 && (ejected == 0 || (ejected + 1) * 100 <= total * self.max_percent as usize)
    }

    /// Below how many percent of endpoints that are well ejections are not heeded.
    pub(crate) fn panic_threshold(&self) -> u32 {
        self.panic_percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ejection_times_grow_by_the_base_up_to_the_limit() {
        let ejection = Ejection::default().base(Duration::from_secs(30)).max(Duration::from_secs(300));
        let seconds: Vec<_> = [1, 2, 3, 9, 10, 11].map(|times| ejection.time(times).as_secs()).into();
        assert_eq!(seconds, [30, 60, 90, 270, 300, 300]);
    }

    #[test]
    fn a_tenth_of_twenty_is_two_and_one_of_two_may_always_go() {
        let ejection = Ejection::default();
        let allowed = (0..20).take_while(|&ejected| ejection.allows(ejected, 20)).count();
        assert_eq!(allowed, 2);
        assert!(ejection.allows(0, 2) && !ejection.allows(1, 2) && !ejection.allows(0, 1));
    }
}
