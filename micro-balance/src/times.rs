//! How long the answers of one endpoint took: a count for each quarter of an octave.

use crate::atomic::{AtomicU32, Ordering::Relaxed};

/// The least octave, from 8 µs on; what is shorter counts there.
const FIRST: u32 = 13;
/// Four for each of 24 octaves, to more than two minutes.
const BUCKETS: usize = 4 * 24;

/// Counts that requests add to, and that are taken from time to time.
pub(crate) struct Times([AtomicU32; BUCKETS]);

impl Times {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU32::new(0)))
    }

    /// Counts an answer that took so many nanoseconds.
    #[inline]
    pub(crate) fn record(&self, nanos: u64) {
        if let Some(count) = self.0.get(bucket(nanos)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Takes the counts: the middle of each bucket in seconds, and how many there were in it.
    pub(crate) fn take(&self) -> impl Iterator<Item = (f64, u32)> {
        let counts =
            self.0.iter().enumerate().map(|(bucket, count)| (middle(bucket), count.swap(0, Relaxed)));
        counts.filter(|(_, count)| *count > 0)
    }
}

#[inline]
fn bucket(nanos: u64) -> usize {
    let octave = nanos.max(1).ilog2();
    if octave < FIRST {
        return 0;
    }
    let quarter = nanos >> (octave - 2) & 3;
    (((octave - FIRST) * 4) as usize + quarter as usize).min(BUCKETS - 1)
}

fn middle(bucket: usize) -> f64 {
    let (octave, quarter) = (FIRST + bucket as u32 / 4, bucket % 4);
    (1_u64 << octave) as f64 * (1.125 + quarter as f64 / 4.0) / 1e9
}

#[cfg(all(test, not(micro_loom)))]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_within_an_eighth_and_once() {
        let times = Times::new();
        for micros in [9, 100, 1_000, 33_333, 1_000_000, 100_000_000_u64] {
            times.record(micros * 1_000);
            let taken: Vec<_> = times.take().collect();
            let [(seconds, 1)] = taken[..] else { panic!("{taken:?}") };
            let off = seconds / (micros as f64 / 1e6) - 1.0;
            assert!(off.abs() <= 0.125, "{micros} us became {seconds} s");
        }
        assert_eq!(times.take().count(), 0);
    }

    #[test]
    fn what_is_too_short_or_too_long_counts_at_the_ends() {
        let times = Times::new();
        [0, 1, u64::MAX].into_iter().for_each(|nanos| times.record(nanos));
        let counts: Vec<_> = times.take().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 1]);
    }
}
