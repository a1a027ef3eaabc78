//! As few endpoints as the load takes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use xxhash_rust::xxh64::xxh64;

use super::{
    Context, Policy, Timing,
    hash_key::hash_key,
    least_request::{another, is_less_busy},
};
use crate::{chance::Chance, endpoint::Endpoint, setting::InvalidSetting};

/// Sends requests to a few endpoints, and to more as they get busy: those that come first in an order of
/// this client's own.
///
/// One more is used when those in use have more than 1.125 requests each, and one fewer when they have less
/// than 0.875, on average over 15 s. Of those in use it takes the less busy of two, where heavier ones are drawn more
/// often and may have as many more requests in flight. For clients with little to do, whose requests should find a warm
/// connection; where clients know how many they are, [`Aperture`](super::Aperture) loads servers more evenly. Finagle's
/// random aperture, <https://twitter.github.io/finagle/guide/ApertureLoadBalancers.html>.
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

/// This client's order of the endpoints.
#[derive(Clone, Debug)]
pub struct Order {
    indexes: Box<[u32]>,
    /// The weight of each with that of all before it; nothing where all weigh the same.
    sums: Option<Box<[f64]>>,
}

impl Order {
    /// Places of two different ones of the first `width`, drawn by weight.
    #[inline]
    fn two_of(&self, width: usize, chance: &Chance) -> (usize, usize) {
        match self.sums.as_ref().and_then(|sums| sums.get(..width)) {
            None => chance.two_below(width),
            Some(sums) => by_weight(sums, chance),
        }
    }
}

fn by_weight(sums: &[f64], chance: &Chance) -> (usize, usize) {
    let total = sums.last().copied().unwrap_or_default();
    let draw = || {
        let at = chance.fraction() * total;
        sums.partition_point(|&sum| sum <= at).min(sums.len() - 1)
    };
    let first = draw();
    (first, another(first, sums.len(), draw))
}

impl Policy for RandomAperture {
    type Table = Order;

    fn table(&self, endpoints: &[Endpoint]) -> Order {
        let mut indexes: Vec<_> = (0..endpoints.len() as u32).collect();
        let place = |&index: &u32| {
            endpoints.get(index as usize).map(|endpoint| xxh64(hash_key(endpoint).as_bytes(), self.seed))
        };
        indexes.sort_by_cached_key(place);
        let differ = endpoints.windows(2).any(|pair| pair[0].weight() != pair[1].weight());
        let sums = differ.then(|| {
            let weights = indexes.iter().filter_map(|&index| endpoints.get(index as usize));
            let add = |sum: &mut f64, endpoint: &Endpoint| {
                *sum += endpoint.weight();
                Some(*sum)
            };
            weights.scan(0.0, add).collect()
        });
        Order { indexes: indexes.into(), sums }
    }

    #[inline]
    fn pick(&self, order: &Order, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        let indexes = &order.indexes;
        if self.picks.fetch_add(1, Relaxed).is_multiple_of(LOOK)
            && let Some(now) = context.now
        {
            self.look(indexes, endpoints, now.get());
        }
        // One that turned the request down makes room for the next in order.
        let width = (self.width(indexes.len()) + context.attempt as usize).min(indexes.len());
        if width < 2 {
            return indexes.first().map(|&index| index as usize);
        }
        let (first, second) = order.two_of(width, context.chance);
        let (first, second) = (*indexes.get(first)? as usize, *indexes.get(second)? as usize);
        let busier = is_less_busy(endpoints.get(second)?, endpoints.get(first)?);
        Some(if busier { second } else { first })
    }

    /// Wants to know the time; latencies do not matter.
    fn timing(&self) -> Option<Timing> {
        super::PeakEwma::new().classic().timing()
    }
}

#[cfg(all(test, not(micro_loom)))]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::{clock::Moment, policy::fixture::alike};

    /// In nanoseconds.
    fn ms(ms: u64) -> u64 {
        1 + ms * 1_000_000
    }

    fn endpoints(count: usize) -> Vec<Endpoint> {
        alike(count, RandomAperture::new().timing())
    }

    /// How many are in use when it has looked at these times.
    fn widths(policy: &RandomAperture, endpoints: &[Endpoint], times: &[u64]) -> Vec<usize> {
        let order = policy.table(endpoints).indexes;
        let width = |&time: &u64| {
            policy.look(&order, endpoints, ms(time));
            policy.width(order.len())
        };
        times.iter().map(width).collect()
    }

    #[test]
    fn one_more_is_used_as_soon_as_the_average_of_15_s_is_above_the_band() {
        let (policy, endpoints) = (RandomAperture::new().seed(1), endpoints(3));
        let first = &endpoints[policy.table(&endpoints).indexes[0] as usize];
        (0..2).for_each(|_| first.stats().start());
        // 2 - exp(-t / 15 s), from the first look on.
        assert_eq!(widths(&policy, &endpoints, &[0, 1_000, 1_950, 2_050]), [1, 1, 1, 2]);
        (0..8).for_each(|_| first.stats().start());
        assert_eq!(widths(&policy, &endpoints, &[10_000, 20_000, 30_000]), [3, 3, 3], "there are no more");
    }

    #[test]
    fn one_fewer_is_used_as_soon_as_the_average_of_15_s_is_below_the_band_but_no_fewer_than_the_least() {
        let (policy, endpoints) = (RandomAperture::new().least(2), endpoints(5));
        policy.width.store(4, Relaxed);
        // exp(-t / 15 s) of a request.
        assert_eq!(widths(&policy, &endpoints, &[0, 1_950, 2_050]), [4, 4, 3]);
        assert_eq!(widths(&policy, &endpoints, &[3_000, 4_000, 5_000]), [2, 2, 2]);
        let policy = RandomAperture::new().band(0.25, 0.5).unwrap();
        policy.width.store(3, Relaxed);
        assert_eq!(widths(&policy, &endpoints, &[0]), [4], "one request is above this band");
        assert_eq!(widths(&policy, &endpoints, &[20_000, 20_900]), [4, 3]);
        for (low, high) in [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (1.0, f64::INFINITY), (f64::NAN, 1.0)] {
            assert!(RandomAperture::new().band(low, high).is_err(), "{low} to {high}");
        }
    }

    /// Finagle's `LoadBandTest`, to within one: as many are in use as have 1.125 requests each. It counts again from no request
    /// each time; where there were more, ours stay until each has less than 0.875.
    #[test]
    fn as_many_are_in_use_as_the_load_takes() {
        for load in 2..40 {
            let looks: Vec<_> = (0..80).map(|minute| minute * 60_000).collect();
            for (from, each) in [(1, 1.125), (40, 0.875)] {
                let (policy, endpoints) = (RandomAperture::new(), endpoints(40));
                policy.width.store(from, Relaxed);
                let first = &endpoints[policy.table(&endpoints).indexes[0] as usize];
                (0..load).for_each(|_| first.stats().start());
                let width = widths(&policy, &endpoints, &looks).pop().unwrap() as f64;
                let expected = (f64::from(load) / each).min(40.0);
                assert!((width - expected).abs() <= 1.0, "{width} for {load} from {from} on");
            }
        }
    }

    #[test]
    fn one_pick_in_sixteen_looks_at_the_load() {
        let (policy, endpoints, chance) = (RandomAperture::new(), endpoints(2), Chance::new(1));
        let order = policy.table(&endpoints);
        let looked = |time| {
            let context = Context { now: Moment::new(time), ..Context::new(&chance) };
            policy.pick(&order, &endpoints, &context).unwrap();
            policy.looked.load(Relaxed)
        };
        assert_eq!(looked(1), 1, "the first");
        assert!((2..=16).all(|time| looked(time) == 1));
        assert_eq!(looked(17), 17);
    }

    #[test]
    fn the_less_busy_of_two_in_use_is_picked_and_one_more_is_in_use_for_each_that_turned_the_request_down() {
        let (policy, endpoints, chance) = (RandomAperture::new().least(2), endpoints(4), Chance::new(1));
        let order = policy.table(&endpoints);
        endpoints[order.indexes[0] as usize].stats().start();
        let picked = |attempt| -> Vec<usize> {
            let context = Context { attempt, ..Context::new(&chance) };
            let picks: Vec<_> =
                (0..100).map(|_| policy.pick(&order, &endpoints, &context).unwrap() as u32).collect();
            (0..4).filter(|&place| picks.contains(&order.indexes[place])).collect()
        };
        assert_eq!(picked(0), [1]);
        assert_eq!(picked(1), [1, 2]);
        assert_eq!(picked(2), [1, 2, 3]);
        assert_eq!(picked(9), [1, 2, 3]);
        let alone = RandomAperture::new().seed(5);
        let first = alone.table(&endpoints).indexes[0] as usize;
        let pick = alone.pick(&alone.table(&endpoints), &endpoints, &Context::new(&chance));
        assert_eq!(pick, Some(first), "who is the only one in use, however busy");
    }

    #[test]
    fn a_seed_is_an_order_in_which_each_has_its_place_whoever_else_is_there() {
        let (policy, endpoints) = (RandomAperture::new().seed(7), endpoints(20));
        let order = policy.table(&endpoints).indexes;
        assert_eq!(order, RandomAperture::new().seed(7).table(&endpoints).indexes);
        assert_ne!(order, RandomAperture::new().seed(8).table(&endpoints).indexes);
        let fewer = policy.table(&endpoints[..10]).indexes;
        let left: Vec<_> = order.iter().copied().filter(|&index| index < 10).collect();
        assert_eq!(*fewer, left);
    }
}
