//! The latencies of the recent past, and their percentile.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Eight buckets for each power of two microseconds, up to over an hour: within an eighth of the truth.
const BUCKETS: usize = 32 * 8;

/// How often the percentile is worked out.
const REFRESH: Duration = Duration::from_secs(1);

/// After so many refreshes what is known counts half.
const FADE: u32 = 5;

/// Counts latencies in buckets; recording is one atomic addition.
#[derive(Debug)]
pub(super) struct Latencies {
    part: f64,
    min: Duration,
    buckets: Box<[AtomicU32]>,
    epoch: Instant,
    /// Nanoseconds since the epoch of the next refresh.
    due: AtomicU64,
    refreshes: Mutex<u32>,
    /// The percentile in microseconds; 0 while too little is known.
    percentile: AtomicU64,
}

impl Latencies {
    /// For the latency that `part` of all stay under, at least `min`.
    pub(super) fn new(part: f64, min: Duration) -> Self {
        Self {
            part,
            min,
            buckets: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
            epoch: Instant::now(),
            due: AtomicU64::new(0),
            refreshes: Mutex::new(0),
            percentile: AtomicU64::new(0),
        }
    }

    pub(super) fn record(&self, latency: Duration) {
        self.buckets[bucket(latency.as_micros() as u64)].fetch_add(1, Relaxed);
    }

    /// The percentile, once enough is known to tell.
    pub(super) fn percentile(&self, now: Instant) -> Option<Duration> {
        let now = now.saturating_duration_since(self.epoch).as_nanos() as u64;
        if now >= self.due.load(Relaxed) {
            self.refresh(now);
        }
        match self.percentile.load(Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros).max(self.min)),
        }
    }

    fn refresh(&self, now: u64) {
        // Whoever comes while another is at it uses what was worked out before.
        let Ok(mut refreshes) = self.refreshes.try_lock() else { return };
        let counts: Vec<u32> = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        // Below this there is not one latency above the percentile to expect.
        let enough = total as f64 * (1.0 - self.part) >= 1.0;
        let rank = (total as f64 * self.part).ceil() as u64;
        let mut below = 0;
        let found = counts.iter().position(|&count| {
            below += u64::from(count);
            below >= rank
        });
        let micros = found.filter(|_| enough).map_or(0, upper);
        self.percentile.store(micros, Relaxed);
        if enough {
            *refreshes += 1;
            self.due.store(now + REFRESH.as_nanos() as u64, Relaxed);
            if (*refreshes).is_multiple_of(FADE) {
                // Subtracted, so that nothing recorded meanwhile is lost.
                self.buckets.iter().zip(counts).for_each(|(bucket, count)| {
                    bucket.fetch_sub(count.div_ceil(2), Relaxed);
                });
            }
        } else {
            // Until enough is known, look again often.
            self.due.store(now + REFRESH.as_nanos() as u64 / 20, Relaxed);
        }
    }
}

fn bucket(micros: u64) -> usize {
    if micros < 8 {
        return micros as usize;
    }
    let power = micros.ilog2();
    let eighth = micros >> (power - 3) & 7;
    ((power as usize - 2) * 8 + eighth as usize).min(BUCKETS - 1)
}

/// The first latency above a bucket, in microseconds.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64 + 1;
    if bucket < 16 { bucket } else { (8 + bucket % 8) << (bucket / 8 - 1) }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[test]
    fn every_latency_is_in_the_bucket_that_ends_just_above_it() {
        for micros in (0..5000).chain([10_000, 1_000_000, 60_000_000]) {
            let upper = upper(bucket(micros));
            assert!(upper > micros && upper - micros <= micros / 8 + 1, "{micros} is under {upper}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_percentile_is_known_when_enough_is_and_follows_changes() {
        let latencies = Latencies::new(0.95, Duration::from_millis(1));
        (0..19).for_each(|_| latencies.record(Duration::from_millis(10)));
        assert_eq!(latencies.percentile(Instant::now()), None);
        (0..81).for_each(|n| latencies.record(Duration::from_millis(if n < 4 { 1000 } else { 10 })));
        advance(Duration::from_secs(1)).await;
        let ms = |latencies: &Latencies| latencies.percentile(Instant::now()).unwrap().as_millis();
        assert_eq!(ms(&latencies), 10);
        for _ in 0..60 {
            (0..20).for_each(|_| latencies.record(Duration::from_millis(100)));
            advance(Duration::from_secs(1)).await;
            let _ = latencies.percentile(Instant::now());
        }
        assert!((100..113).contains(&ms(&latencies)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_percentile_is_the_latency_that_so_many_did_not_exceed_once_one_above_it_is_to_be_expected() {
        let all = |part, latencies: &[u64]| {
            let known = Latencies::new(part, Duration::ZERO);
            latencies.iter().for_each(|&ms| known.record(Duration::from_millis(ms)));
            known.percentile(Instant::now()).map(|time| time.as_millis())
        };
        assert_eq!([all(0.5, &[1]), all(0.75, &[1, 1, 1])], [None, None]);
        assert!(all(0.5, &[1, 100]).is_some_and(|ms| ms <= 1) && all(0.75, &[1; 4]).is_some());
        let hundred: Vec<u64> = (1..=100).collect();
        for (part, ms) in [(0.1, 10), (0.5, 50), (0.95, 95)] {
            assert!(all(part, &hundred).is_some_and(|found| (ms..=ms * 9 / 8).contains(&found)), "{part}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_latencies_of_before_are_forgotten_within_a_minute() {
        let latencies = Latencies::new(0.9, Duration::ZERO);
        (0..10_000).for_each(|_| latencies.record(Duration::from_millis(100)));
        for _ in 0..60 {
            (0..20).for_each(|_| latencies.record(Duration::from_millis(10)));
            let _ = latencies.percentile(Instant::now());
            advance(Duration::from_secs(1)).await;
        }
        assert!(latencies.percentile(Instant::now()).unwrap() < Duration::from_millis(12));
    }

    #[tokio::test(start_paused = true)]
    async fn the_percentile_is_never_under_the_minimum() {
        let latencies = Latencies::new(0.5, Duration::from_millis(1));
        (0..100).for_each(|_| latencies.record(Duration::from_micros(3)));
        assert_eq!(latencies.percentile(Instant::now()), Some(Duration::from_millis(1)));
    }
}
