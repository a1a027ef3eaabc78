//! The latency of one endpoint: an average that jumps to every peak and forgets slowly.
//!
//! All of an estimate is one atomic word, value and time together, so readers never see half of it and
//! nobody waits for a lock.

use std::time::Duration;

use crate::atomic::{AtomicU64, Ordering::Relaxed};

/// How a policy wants latencies measured: see [`PeakEwma`](crate::policy::PeakEwma).
#[derive(Clone, Debug)]
pub struct Timing {
    /// The time after which a sample counts for a third (1/e) of what it did.
    pub decay: Duration,
    /// What an endpoint without any sample is taken to need.
    pub default_latency: Duration,
    /// What a failure is taken to have needed, at least.
    pub penalty: Duration,
    /// Whether the estimate follows at once when all recent samples are far below it.
    pub recovers: bool,
}

/// A tick is 2¹⁴ ns, about 16 µs: samples within one tick count once, and 32 bits of ticks last 19 hours.
const TICK_BITS: u32 = 14;
/// More ticks than this are of a clock that went back: by up to a second.
const LATE: u32 = u32::MAX - (1_000_000_000 >> TICK_BITS);
/// A coarse tick is 2²⁰ ns, about 1 ms.
const COARSE_BITS: u32 = 20;
/// For how long all samples must stay under half of the estimate before it follows them down at once.
const CALM: u64 = 250_000_000 >> COARSE_BITS;

/// Peak exponentially weighted moving average of latencies, in nanoseconds.
///
/// A sample above the average replaces it. One below moves it by `1 - exp(-elapsed / decay)`, where
/// `elapsed` is the time since the sample before. Times are nanoseconds since an epoch of the caller's.
#[derive(Debug)]
pub(crate) struct Ewma {
    /// The value as the bits of an `f32`, above the tick of its last sample; before the first a value of 0, above
    /// the tick from which on there could have been one.
    word: AtomicU64,
    /// Samples far below the value since it last was confirmed: the highest, a coarse tick, their number.
    calm: AtomicU64,
}

impl Ewma {
    /// The estimate of an endpoint that has been there since `now`, and has not answered yet.
    pub(crate) fn new(now: u64) -> Self {
        Self { word: AtomicU64::new(pack(0.0, now)), calm: AtomicU64::new(0) }
    }

    /// Takes a latency measured at `now`, in nanoseconds as `now` is; `recovers` as in [`Timing`].
    #[inline]
    pub(crate) fn record(&self, sample: u64, now: u64, rate: Rate, recovers: bool) {
        // A sample of nothing still is a sample: 0 means that there is none.
        let sample = (sample as f32).max(1.0);
        let recovered = if recovers { self.recovered(sample, now) } else { None };
        let mut word = self.word.load(Relaxed);
        loop {
            let value = match (unpack(word), recovered) {
                (None, _) => sample,
                (_, Some(highest)) => highest,
                (Some((value, _)), _) if sample > value => sample,
                (Some((value, tick)), _) => {
                    let keep = rate.keep(now, tick);
                    value * keep + sample * (1.0 - keep)
                }
            };
            let new = pack(value, now);
            if new == word {
                return;
            }
            match self.word.compare_exchange_weak(word, new, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(other) => word = other,
            }
        }
    }

    /// The estimate at `now`, without changing it: silence makes it fall. `None` before the first sample.
    #[inline]
    pub(crate) fn value(&self, now: u64, rate: Rate) -> Option<f32> {
        unpack(self.word.load(Relaxed)).map(|(value, tick)| value * rate.keep(now, tick))
    }

    /// Which part of what an endpoint is taken to need is left while it has not answered yet: silence makes that
    /// fall as well, so that its turn comes.
    #[inline]
    pub(crate) fn untried(&self, now: u64, rate: Rate) -> f32 {
        rate.keep(now, self.word.load(Relaxed) as u32)
    }

    /// The estimate as the last sample left it.
    #[inline]
    pub(crate) fn last(&self) -> Option<f32> {
        unpack(self.word.load(Relaxed)).map(|(value, _)| value)
    }

    /// How long ago the last sample was, in nanoseconds to within a tick; `u64::MAX` before the first.
    #[inline]
    pub(crate) fn age(&self, now: u64) -> u64 {
        match unpack(self.word.load(Relaxed)) {
            Some((_, tick)) => u64::from(tick_of(now).wrapping_sub(tick)) << TICK_BITS,
            None => u64::MAX,
        }
    }

    /// Forgets everything, as for an endpoint that was replaced or comes back from ejection.
    pub(crate) fn reset(&self, now: u64) {
        self.word.store(pack(0.0, now), Relaxed);
        self.calm.store(0, Relaxed);
    }

    /// The highest of the recent samples, once they all have been under half of the estimate for a while.
    ///
    /// Without this a single stall of the host would keep a healthy endpoint out for the whole decay.
    /// Updates may be lost between threads, which only makes the while a little longer.
    fn recovered(&self, sample: f32, now: u64) -> Option<f32> {
        let calm = self.calm.load(Relaxed);
        let value = self.last()?;
        if sample * 2.0 > value {
            if calm != 0 {
                self.calm.store(0, Relaxed);
            }
            return None;
        }
        let coarse = now >> COARSE_BITS & 0xff_ffff;
        let (highest, since, count) = if calm == 0 {
            (sample, coarse, 1)
        } else {
            (f32::from_bits((calm >> 32) as u32).max(sample), calm >> 8 & 0xff_ffff, (calm & 0xff) + 1)
        };
        if count >= 2 && coarse.wrapping_sub(since) & 0xff_ffff >= CALM {
            self.calm.store(0, Relaxed);
            return Some(highest);
        }
        self.calm.store(u64::from(highest.to_bits()) << 32 | since << 8 | count.min(0xff), Relaxed);
        None
    }
}

/// A duration in nanoseconds, by 64-bit arithmetic: the standard library's 128 bits cost more than the rest.
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    duration.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(duration.subsec_nanos()))
}

#[inline]
fn tick_of(now: u64) -> u32 {
    (now >> TICK_BITS) as u32
}

#[inline]
fn pack(value: f32, now: u64) -> u64 {
    u64::from(value.to_bits()) << 32 | u64::from(tick_of(now))
}

#[inline]
fn unpack(word: u64) -> Option<(f32, u32)> {
    let value = f32::from_bits((word >> 32) as u32);
    (value > 0.0).then_some((value, word as u32))
}

/// How fast an estimate forgets: what goes by in one tick, divided by the decay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate(f32);

impl Rate {
    pub(crate) fn of(decay: Duration) -> Self {
        Self((1_u64 << TICK_BITS) as f32 / nanos(decay) as f32)
    }

    /// The share of the old value that is left at `now`.
    #[inline]
    fn keep(self, now: u64, tick: u32) -> f32 {
        // A clock that went back, by a tick at most between threads, counts as no time at all.
        let ticks = tick_of(now).wrapping_sub(tick);
        let ticks = if ticks > LATE { 0 } else { ticks };
        let x = ticks as f32 * self.0;
        // Close to zero the exponential is its own tangent, at a tenth of the price.
        if x < 1e-3 { 1.0 - x } else { (-x).exp() }
    }
}

#[cfg(all(test, not(micro_loom)))]
mod tests {
    use super::*;

    const DECAY: Duration = Duration::from_secs(10);

    /// Milliseconds.
    fn ms(n: u64) -> u64 {
        n * 1_000_000
    }

    fn rate() -> Rate {
        Rate::of(DECAY)
    }

    fn near(value: Option<f32>, expected_ms: f32) {
        let value = value.expect("there was a sample") / 1e6;
        assert!((value - expected_ms).abs() < expected_ms * 0.01, "{value} ms instead of {expected_ms} ms");
    }

    #[test]
    fn a_peak_is_taken_at_once_and_a_low_sample_by_its_share_of_the_time() {
        let ewma = Ewma::new(0);
        ewma.record(ms(100), ms(1), rate(), false);
        ewma.record(ms(400), ms(2), rate(), false);
        near(ewma.value(ms(2), rate()), 400.0);
        ewma.record(ms(100), ms(10_002), rate(), false);
        near(
            ewma.value(ms(10_002), rate()),
            400.0 / std::f32::consts::E + 100.0 * (1.0 - 1.0 / std::f32::consts::E),
        );
    }

    #[test]
    fn silence_makes_the_estimate_fall_without_being_written() {
        let ewma = Ewma::new(0);
        ewma.record(ms(5_000), ms(0), rate(), true);
        near(ewma.value(ms(10_000), rate()), 5_000.0 / std::f32::consts::E);
        near(ewma.value(ms(0), rate()), 5_000.0);
    }

    #[test]
    fn one_stall_is_forgotten_after_a_quarter_of_a_second_of_calm() {
        let ewma = Ewma::new(0);
        ewma.record(ms(50), ms(0), rate(), true);
        for n in 1..=5 {
            ewma.record(ms(1), ms(n * 100), rate(), true);
        }
        near(ewma.value(ms(500), rate()), 1.0);
    }

    #[test]
    fn an_endpoint_that_is_slow_now_and_then_stays_slow() {
        let ewma = Ewma::new(0);
        for n in 0..100 {
            ewma.record(ms(if n % 10 == 0 { 50 } else { 1 }), ms(n * 20), rate(), true);
        }
        assert!(ewma.last().unwrap() > 45e6);
    }

    /// Where the ticks begin again, after 19.5 hours, it is what it was, and is forgotten as fast as then.
    #[test]
    fn an_estimate_is_forgotten_for_as_long_as_nobody_asks_but_a_minute_of_each_day() {
        let ewma = Ewma::new(0);
        ewma.record(ms(5_000), ms(0), rate(), true);
        let minutes = 1..7 * 24 * 60;
        let told = minutes.filter(|minute| ewma.value(ms(minute * 60_000), rate()).unwrap() > 15e6).count();
        assert!(told <= 9, "after {told} of the minutes of a week");
        ewma.record(ms(1), ms(12 * 3_600_000), rate(), false);
        near(ewma.value(ms(12 * 3_600_000), rate()), 1.0);
    }
}
