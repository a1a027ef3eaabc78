//! The endpoint that a probe a moment ago found best.

mod pool;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use self::pool::SIZE;
pub(crate) use self::pool::{Finding, Probing};
use super::{Context, PeakEwma, Policy, Timing, Warmth};
use crate::{endpoint::Endpoint, ewma::Rate, setting::InvalidSetting};

/// Probes endpoints beside the requests, and sends each request to the best that was found in the last second.
///
/// A pick first takes findings that are cold, with fewer requests in flight than most, and of these the one
/// with the lowest latency; where all are hot, the one with the fewest requests. Each request has three
/// endpoints probed, off its own path. For servers with many clients, each of which sees little of a server's
/// load: that is what the server has to tell, by
/// [`Builder::load_probe`](crate::Builder::load_probe). Without that, what this client knows of endpoints is
/// taken instead. Prequal, <https://www.usenix.org/conference/nsdi24/presentation/wydrowski>.
#[derive(Debug)]
#[must_use]
pub struct Prequal {
    probing: Arc<Probing>,
    probes: u32,
    quantile: f64,
    reuse: f64,
    queries: AtomicUsize,
    rate: Rate,
}

/// How an endpoint is, by its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests it is busy with, from all clients.
    pub in_flight: u32,
    /// How long a request took there of late, when it was about as busy.
    pub latency: Duration,
}

/// An endpoint whose requests took longer than this, in nanoseconds by this client's own account, is sent none
/// for a while, however fast it says it is: a failure counts as an answer after 5 s.
const SINKHOLE: f32 = 2.5e9;

impl Prequal {
    /// Three probes a request; hot is above the 84th percentile.
    pub fn new() -> Self {
        let probing = Arc::default();
        let rate = Rate::of(Duration::from_secs(10));
        Self { probing, probes: 3, quantile: 0.84, reuse: 1.0, queries: AtomicUsize::new(0), rate }
    }

    /// How many endpoints are probed for each request.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] unless `probes` is in 1..=16.
    pub fn probes(mut self, probes: u32) -> Result<Self, InvalidSetting> {
        if !(1..=SIZE as u32).contains(&probes) {
            return Err(InvalidSetting::new("the number of probes for a request", probes, "from 1 to 16"));
        }
        self.probes = probes;
        Ok(self)
    }

    /// Which part of the findings is cold; 0 minds requests in flight only, and 1 latency only.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] unless `quantile` is in 0..=1.
    pub fn quantile(mut self, quantile: f64) -> Result<Self, InvalidSetting> {
        if !(0.0..=1.0).contains(&quantile) {
            return Err(InvalidSetting::new("the part of findings that is cold", quantile, "from 0 to 1"));
        }
        self.quantile = quantile;
        Ok(self)
    }

    /// How often one finding may be used where there are `count` endpoints: so often that the pool does not
    /// run dry.
    fn reuse(&self, count: usize) -> u32 {
        let kept = (SIZE.min(count.div_ceil(2)).max(2)) as f64 / count as f64;
        let left = (1.0 - kept) * f64::from(self.probes) - 1.0;
        if left <= 0.0 { u32::MAX } else { ((1.0 + self.reuse) / left).max(1.0).ceil() as u32 }
    }
}

impl Default for Prequal {
    fn default() -> Self {
        Self::new()
    }
}

/// Endpoints by serial number, and which part of its weight each has.
#[derive(Clone, Debug)]
pub struct Serials {
    places: Box<[(u64, u32)]>,
    warmth: Warmth,
}

impl Serials {
    fn index(&self, serial: u64) -> Option<usize> {
        let place = self.places.binary_search_by_key(&serial, |&(serial, _)| serial).ok()?;
        self.places.get(place).map(|&(_, index)| index as usize)
    }

    /// A finding that can be used, as it would be if the endpoint had all of its weight.
    fn candidate<'a>(&self, finding: &'a Finding, index: usize) -> Candidate<'a> {
        let (busy, latency) = (finding.busy.load(Relaxed), finding.latency);
        match self.warmth.of_index(index) {
            warm if warm >= 1.0 => Candidate { finding, index, busy, latency },
            cold => Candidate {
                finding,
                index,
                busy: (busy as f32 / cold) as u32,
                latency: (latency as f32 / cold) as u64,
            },
        }
    }
}

/// A finding that can be used, and whose it is.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    finding: &'a Finding,
    index: usize,
    busy: u32,
    latency: u64,
}

/// Collects findings that are of use, of endpoints that `fits` lets through; how many there are.
fn gather<'a>(
    pool: &'a [Arc<Finding>],
    now: u64,
    table: &Serials,
    candidates: &mut [Option<Candidate<'a>>; SIZE],
    fits: impl Fn(usize) -> bool,
) -> usize {
    let useful = pool.iter().filter(|finding| finding.is_of_use(now));
    let found = useful.filter_map(|finding| Some((finding, table.index(finding.serial)?)));
    let mut found =
        found.filter(|(_, index)| fits(*index)).map(|(finding, index)| table.candidate(finding, index));
    candidates.fill_with(|| found.next());
    candidates.iter().flatten().count()
}

impl Policy for Prequal {
    type Table = Serials;

    fn table(&self, endpoints: &[Endpoint]) -> Serials {
        let serial = |(index, endpoint): (usize, &Endpoint)| (endpoint.stats().serial(), index as u32);
        let mut serials: Vec<_> = endpoints.iter().enumerate().map(serial).collect();
        serials.sort_unstable();
        Serials { places: serials.into(), warmth: Warmth::of(endpoints) }
    }

    fn pick(&self, table: &Serials, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        let anybody = || Some(context.chance.below(endpoints.len()));
        if context.attempt > 0 {
            return anybody();
        }
        self.probing.want(self.probes);
        let now = context.now.map_or(0, std::num::NonZeroU64::get);
        let pool = self.probing.pool();
        let mut candidates = [const { None }; SIZE];
        // Silence makes it fall, so one that failed is tried again.
        let fails = |index: usize| {
            let own = endpoints.get(index).and_then(|it| it.stats().latency().value(now, self.rate));
            own.is_some_and(|own| own >= SINKHOLE)
        };
        let mut count = gather(&pool, now, table, &mut candidates, |index| !fails(index));
        if count < 2 {
            // Where all are that slow it is the load, and nobody's fault.
            count = gather(&pool, now, table, &mut candidates, |_| true);
        }
        if count < 2 {
            return anybody();
        }
        let found = || candidates.iter().flatten();
        let limit = self.limit(found().map(|candidate| candidate.busy), count);
        let cold = found().filter(|candidate| candidate.busy <= limit);
        let best = cold.min_by_key(|candidate| candidate.latency);
        let best = best.or_else(|| found().min_by_key(|candidate| candidate.busy))?;
        self.use_up(best, found(), endpoints.len());
        Some(best.index)
    }

    fn timing(&self) -> Option<Timing> {
        PeakEwma::new().timing()
    }

    fn probing(&self) -> Option<Arc<Probing>> {
        Some(self.probing.clone())
    }
}

impl Prequal {
    /// How many requests in flight a finding may have and be cold.
    fn limit(&self, busy: impl Iterator<Item = u32>, count: usize) -> u32 {
        let mut sorted = [u32::MAX; SIZE];
        for (place, busy) in sorted.iter_mut().zip(busy) {
            *place = busy;
        }
        sorted.sort_unstable();
        let place = (self.quantile * count as f64).ceil() as usize;
        // None is cold where the quantile is 0.
        place.checked_sub(1).and_then(|place| sorted.get(place.min(count - 1)).copied()).unwrap_or(0)
    }

    /// Counts the request where it goes, and gives up one finding: the oldest or the worst, in turn.
    fn use_up<'a>(
        &self,
        best: &Candidate<'_>,
        found: impl Iterator<Item = &'a Candidate<'a>> + Clone,
        endpoints: usize,
    ) {
        best.finding.use_once(self.reuse(endpoints));
        let given_up = if self.queries.fetch_add(1, Relaxed).is_multiple_of(2) {
            found.min_by_key(|candidate| candidate.finding.at)
        } else {
            found.max_by_key(|candidate| (candidate.busy, candidate.latency))
        };
        if let Some(candidate) = given_up {
            candidate.finding.spent.store(true, Relaxed);
        }
    }
}

#[cfg(all(test, not(micro_loom)))]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::{Chance, ewma::nanos, policy::fixture::alike};

    const NOW: u64 = 100;

    fn endpoints(count: usize) -> Vec<Endpoint> {
        alike(count, Prequal::new().timing())
    }

    /// The serial number of who is picked.
    fn pick(policy: &Prequal, endpoints: &[Endpoint], attempt: u32) -> u64 {
        let chance = Chance::new(1);
        let context = Context { attempt, now: NonZeroU64::new(NOW), ..Context::new(&chance) };
        policy.pick(&policy.table(endpoints), endpoints, &context).map_or(0, |index| index as u64 + 1)
    }

    fn spent(policy: &Prequal) -> Vec<bool> {
        policy.probing.pool().iter().map(|finding| finding.spent.load(Relaxed)).collect()
    }

    #[test]
    fn of_those_that_are_no_busier_than_most_the_fastest_is_picked_and_one_finding_is_given_up_each_time() {
        let (policy, endpoints) = (Prequal::new(), endpoints(3));
        for (serial, latency) in [(1, 20), (2, 30), (3, 10)] {
            policy.probing.add(Finding::new(serial, 1, latency, serial));
        }
        assert_eq!(pick(&policy, &endpoints, 0), 3, "all are as busy");
        assert_eq!(spent(&policy), [true, false, false], "the oldest");
        policy.probing.add(Finding::new(1, 0, 40, 4));
        assert_eq!(pick(&policy, &endpoints, 0), 3);
        assert_eq!(spent(&policy), [false, true, false], "the worst, which has been picked most: {policy:?}");
    }

    #[test]
    fn where_nobody_counts_as_cold_the_least_busy_is_picked_and_where_all_do_the_fastest() {
        for (quantile, picked) in [(0.0, 3), (0.5, 2), (1.0, 1)] {
            let (policy, endpoints) = (Prequal::new().quantile(quantile).unwrap(), endpoints(4));
            for (serial, busy, latency) in [(1, 9, 10), (2, 5, 20), (3, 4, 30), (4, 8, 15)] {
                policy.probing.add(Finding::new(serial, busy, latency, serial));
            }
            assert_eq!(pick(&policy, &endpoints, 0), picked, "{quantile}");
        }
        assert!(Prequal::new().quantile(-0.1).is_err() && Prequal::new().quantile(f64::NAN).is_err());
    }

    #[test]
    fn as_many_endpoints_are_probed_for_a_request_as_is_wanted_and_a_finding_is_used_the_more_the_fewer_they_are()
     {
        let probes = |probes| Prequal::new().probes(probes).unwrap();
        let (policy, endpoints) = (probes(5), endpoints(1));
        pick(&policy, &endpoints, 0);
        assert_eq!(policy.probing.take_wanted(std::task::Waker::noop()), 5);
        // Of a hundred endpoints 16 are kept: 0.84 * 3 - 1 come in for each that goes out.
        let reuse = |of: &Prequal, counts: [usize; 4]| counts.map(|count| of.reuse(count));
        assert_eq!(reuse(&probes(3), [100, 1_000, 4, 1]), [2, 2, 4, u32::MAX]);
        assert_eq!(reuse(&probes(16), [100, 1_000, 4, 2]), [1, 1, 1, u32::MAX]);
        assert_eq!(reuse(&probes(1), [100, 1_000, 4, 1]), [u32::MAX; 4]);
        assert!(Prequal::new().probes(0).is_err() && Prequal::new().probes(17).is_err());
    }

    #[test]
    fn sixteen_findings_are_kept_and_the_oldest_goes() {
        let probing = Probing::default();
        (1..=18).for_each(|serial| probing.add(Finding::new(serial, 0, 1, serial)));
        assert!(probing.pool().iter().map(|finding| finding.serial).eq(3..=18));
        probing.add(Finding::new(9, 0, 1, 20));
        assert_eq!(probing.pool().len(), SIZE);
        let pool = probing.pool();
        pool[0].use_once(2);
        assert!(pool[0].is_of_use(20));
        pool[0].use_once(2);
        assert!(!pool[0].is_of_use(20), "it was used as often as it may be");
    }

    #[test]
    fn another_attempt_goes_anywhere_and_asks_for_no_probes() {
        let (policy, endpoints) = (Prequal::new(), endpoints(1));
        assert_eq!(pick(&policy, &endpoints, 1), 1);
        assert_eq!(policy.probing.take_wanted(std::task::Waker::noop()), 0);
        pick(&policy, &endpoints, 0);
        assert_eq!(policy.probing.take_wanted(std::task::Waker::noop()), 3);
    }

    #[test]
    fn one_that_fails_is_passed_over_whatever_it_says_of_itself() {
        let (policy, endpoints) = (Prequal::new(), endpoints(3));
        endpoints[0].stats().latency().record(nanos(Duration::from_secs(5)), NOW, policy.rate, false);
        for (serial, latency) in [(1, 1), (2, 30), (3, 10)] {
            policy.probing.add(Finding::new(serial, 1, latency, serial));
        }
        assert_eq!(pick(&policy, &endpoints, 0), 3);

        // One that has taken two seconds is only slow.
        let (policy, endpoints) = (Prequal::new(), self::endpoints(3));
        endpoints[0].stats().latency().record(nanos(Duration::from_secs(2)), NOW, policy.rate, false);
        for (serial, latency) in [(1, 1), (2, 30), (3, 10)] {
            policy.probing.add(Finding::new(serial, 1, latency, serial));
        }
        assert_eq!(pick(&policy, &endpoints, 0), 1);
    }

    #[test]
    fn a_finding_is_the_last_of_its_endpoint_counts_what_was_sent_since_and_is_of_use_for_a_second() {
        let probing = Probing::default();
        probing.add(Finding::new(1, 5, 10, 1));
        probing.add(Finding::new(1, 7, 10, 2));
        let pool = probing.pool();
        assert_eq!(pool.len(), 1);
        pool[0].use_once(9);
        assert_eq!(pool[0].busy.load(Relaxed), 8);
        assert!(pool[0].is_of_use(1_000_000_001) && !pool[0].is_of_use(1_000_000_002));
    }
}
