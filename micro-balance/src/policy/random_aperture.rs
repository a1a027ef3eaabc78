//! As few endpoints as the load takes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use xxhash_rust::xxh64::xxh64;

use super::{Context, Policy, Timing, hash_key::hash_key, least_request::is_less_busy};
use crate::{endpoint::Endpoint, setting::InvalidSetting};

/// Sends requests to a few endpoints, and to more as they get busy: those that come first in an order of
/// this client's own.
///
/// One more is used when those in use have more than 1.125 requests each, and one fewer when they have less
/// than 0.875, on average over 15 s. Of those in use it takes the less busy of two. For clients with little to
/// do, whose requests should find a warm connection; where clients know how many they are,
/// [`Aperture`](super::Aperture) loads servers more evenly. Finagle's random aperture,
/// <https://twitter.github.io/finagle/guide/ApertureLoadBalancers.html>.
///
/// ```
/// use micro_balance::policy::RandomAperture;
///
/// let policy = RandomAperture::new().least(3);
/// ```
#[derive(Debug)]
#[must_use]
pub struct RandomAperture {
    seed: u64,
    least: usize,
    band: (f64, f64),
    /// How many endpoints are in use.
    width: AtomicUsize,
    picks: AtomicUsize,
    /// The average load as the bits of an `f64`, and when it was looked at.
    load: AtomicU64,
    looked: AtomicU64,
}

/// Over how long load is averaged, in nanoseconds.
const WINDOW: f64 = 15e9;
/// One pick in so many looks at the load.
const LOOK: usize = 16;

impl RandomAperture {
    /// In a random order, from one endpoint on.
    pub fn new() -> Self {
        Self {
            seed: fastrand::u64(..),
            least: 1,
            band: (0.875, 1.125),
            width: AtomicUsize::new(1),
            picks: AtomicUsize::new(0),
            load: AtomicU64::new(1_f64.to_bits()),
            looked: AtomicU64::new(0),
        }
    }

    /// In an order that `seed` decides.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Uses `endpoints` at least; 1 unless given.
    pub fn least(mut self, endpoints: usize) -> Self {
        self.least = endpoints.max(1);
        self
    }

    /// Uses fewer under `low` requests for each endpoint in use, and more over `high`.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] unless `0 < low < high`.
    pub fn band(mut self, low: f64, high: f64) -> Result<Self, InvalidSetting> {
        if !(0.0 < low && low < high && high.is_finite()) {
            return Err(InvalidSetting::new("the band of load", (low, high), "above 0, and rising"));
        }
        self.band = (low, high);
        Ok(self)
    }

    /// Widens or narrows by one where load asks for it.
    fn look(&self, order: &[u32], endpoints: &[Endpoint], now: u64) {
        let width = self.width(order.len());
        let used = order.iter().take(width).filter_map(|&index| endpoints.get(index as usize));
        let load = used.map(Endpoint::in_flight).sum::<u64>() as f64 / width as f64;
        let before = self.looked.swap(now, Relaxed);
        let keep = if before == 0 { 1.0 } else { (-(now.saturating_sub(before) as f64) / WINDOW).exp() };
        let average = f64::from_bits(self.load.load(Relaxed)) * keep + load * (1.0 - keep);
        self.load.store(average.to_bits(), Relaxed);
        if average > self.band.1 && width < order.len() {
            self.width.store(width + 1, Relaxed);
        } else if average < self.band.0 && width > self.least {
            self.width.store(width - 1, Relaxed);
        }
    }

    fn width(&self, count: usize) -> usize {
        self.width.load(Relaxed).max(self.least).min(count.max(1))
    }
}

impl Default for RandomAperture {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for RandomAperture {
    /// The indexes in this client's order.
    type Table = Box<[u32]>;

    fn table(&self, endpoints: &[Endpoint]) -> Box<[u32]> {
        let mut order: Vec<_> = (0..endpoints.len() as u32).collect();
        let place = |&index: &u32| {
            endpoints.get(index as usize).map(|endpoint| xxh64(hash_key(endpoint).as_bytes(), self.seed))
        };
        order.sort_by_cached_key(place);
        order.into()
    }

    #[inline]
    fn pick(&self, order: &Box<[u32]>, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        if self.picks.fetch_add(1, Relaxed).is_multiple_of(LOOK)
            && let Some(now) = context.now
        {
            self.look(order, endpoints, now.get());
        }
        // One that turned the request down makes room for the next in order.
        let width = (self.width(order.len()) + context.attempt as usize).min(order.len());
        if width < 2 {
            return order.first().map(|&index| index as usize);
        }
        let (first, second) = context.chance.two_below(width);
        let (first, second) = (*order.get(first)? as usize, *order.get(second)? as usize);
        let busier = is_less_busy(endpoints.get(second)?, endpoints.get(first)?);
        Some(if busier { second } else { first })
    }

    /// Wants to know the time; latencies do not matter.
    fn timing(&self) -> Option<Timing> {
        super::PeakEwma::new().classic().timing()
    }
}
