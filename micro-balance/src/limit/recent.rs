//! The last latencies of a while.

use std::time::Duration;

/// So many are kept: what is looked for is in the midst of them, and more would not move it.
const KEPT: usize = 1_000;

/// Latencies since it was emptied, at most the last thousand of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    latencies: Vec<Duration>,
    /// How many there were.
    count: usize,
}

impl Recent {
    pub(super) fn add(&mut self, latency: Duration) {
        if let Some(oldest) = self.latencies.get_mut(self.count % KEPT) {
            *oldest = latency;
        } else {
            self.latencies.push(latency);
        }
        self.count += 1;
    }

    /// How many there were since it was emptied.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn clear(&mut self) {
        self.latencies.clear();
        self.count = 0;
    }

    /// The latency that a `part`, from 0 to 1, of them does not exceed, unless there is none; forgets them.
    pub(super) fn take(&mut self, part: f64) -> Option<Duration> {
        if self.latencies.is_empty() {
            return None;
        }
        let rank = (self.latencies.len() as f64 * part).ceil() as usize;
        let (_, &mut latency, _) = self.latencies.select_nth_unstable(rank.saturating_sub(1));
        self.clear();
        Some(latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(millis: impl Iterator<Item = u64>) -> Recent {
        let mut recent = Recent::default();
        millis.for_each(|millis| recent.add(Duration::from_millis(millis)));
        recent
    }

    #[test]
    fn a_percentile_is_one_of_them_and_asked_for_once() {
        let parts = [0.0, 0.2, 0.5, 0.9, 1.0];
        let taken = parts.map(|part| of([5, 1, 4, 2, 3].into_iter()).take(part).map(|time| time.as_millis()));
        assert_eq!(taken, [1, 1, 3, 5, 5].map(Some));
        let mut recent = of([1, 2].into_iter());
        assert_eq!((recent.take(0.5).is_some(), recent.take(0.5), recent.count()), (true, None, 0));
    }

    #[test]
    fn of_more_than_a_thousand_the_last_count() {
        let mut recent = of((0..1_500).map(|n| if n < 500 { 9 } else { 1 }));
        assert_eq!((recent.count(), recent.latencies.len()), (1_500, KEPT));
        assert_eq!(recent.take(1.0), Some(Duration::from_millis(1)));
    }
}
