//! Finds the endpoints that do worse than the others, from what all of them did in one interval.
//!
//! Pure functions of the counts, by the definitions of Envoy and gRPC
//! (<https://github.com/grpc/proposal/blob/master/A50-xds-outlier-detection.md>).

/// What one endpoint did in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Window {
    /// Requests that went well.
    pub(crate) well: u32,
    /// Those the endpoint answered with a failure.
    pub(crate) failed: u32,
    /// Those that failed on this side, without an answer.
    pub(crate) broken: u32,
    /// The latency it is taken to have, in nanoseconds.
    pub(crate) latency: Option<f32>,
}

impl Window {
    pub(crate) fn total(&self) -> u32 {
        self.well.saturating_add(self.failed).saturating_add(self.broken)
    }

    /// Successes and requests; those that fail on this side `apart` are left out.
    pub(crate) fn answers(&self, apart: bool) -> Share {
        let bad = self.failed.saturating_add(if apart { 0 } else { self.broken });
        Share { good: self.well, total: self.well.saturating_add(bad) }
    }

    /// Answers of any kind, and requests.
    pub(crate) fn answered(&self) -> Share {
        Share { good: self.well.saturating_add(self.failed), total: self.total() }
    }
}

/// How many of all went well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share {
    pub(crate) good: u32,
    pub(crate) total: u32,
}

impl Share {
    /// In percent.
    fn rate(self) -> f64 {
        f64::from(self.good) * 100.0 / f64::from(self.total.max(1))
    }
}

/// Ejects by the rate of success: see [`Ejection::success_rate`](super::Ejection::success_rate).
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct SuccessRate {
    factor: f64,
    margin: f64,
    minimum_hosts: u32,
    request_volume: u32,
}

impl Default for SuccessRate {
    /// 1.9 standard deviations below the mean, of at least 5 endpoints with 100 requests each in an interval.
    fn default() -> Self {
        Self { factor: 1.9, margin: 0.0, minimum_hosts: 5, request_volume: 100 }
    }
}

impl SuccessRate {
    /// How many standard deviations below the mean is too far; 1.9 unless given. Envoy's
    /// `success_rate_stdev_factor` is a thousand times that.
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor.max(0.0);
        self
    }

    /// How many points of percent below the mean an endpoint must be at least; 0 unless given. Where all do
    /// well the deviation is next to nothing, and a single failure would be far from the mean.
    pub fn margin(mut self, points: f64) -> Self {
        self.margin = points.max(0.0);
        self
    }

    /// Nobody is judged unless so many endpoints have the volume; 5 unless given.
    pub fn minimum_hosts(mut self, hosts: u32) -> Self {
        self.minimum_hosts = hosts;
        self
    }

    /// How many requests an endpoint needs in an interval to count; 100 unless given.
    pub fn request_volume(mut self, requests: u32) -> Self {
        self.request_volume = requests;
        self
    }

    /// The places of those whose rate is too low.
    pub(crate) fn outliers(&self, shares: &[Option<Share>]) -> Vec<usize> {
        let judged = judged(shares, self.request_volume, self.minimum_hosts);
        let rates: Vec<f64> = judged.iter().map(|&(_, share)| share.rate()).collect();
        let threshold = self.threshold(&rates);
        judged.iter().filter(|(_, share)| share.rate() < threshold).map(|&(place, _)| place).collect()
    }

    /// The rate under which an endpoint is an outlier among `rates`, in percent.
    fn threshold(&self, rates: &[f64]) -> f64 {
        let count = rates.len().max(1) as f64;
        let mean = rates.iter().sum::<f64>() / count;
        let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / count;
        mean - (self.factor * variance.sqrt()).max(self.margin)
    }
}

/// Ejects by the share of failures: see
/// [`Ejection::failure_percentage`](super::Ejection::failure_percentage).
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct FailurePercentage {
    threshold: f64,
    inclusive: bool,
    minimum_hosts: u32,
    request_volume: u32,
}

impl Default for FailurePercentage {
    /// More than 85 % of the requests, among at least 5 endpoints with 50 requests each in an interval.
    fn default() -> Self {
        Self { threshold: 85.0, inclusive: false, minimum_hosts: 5, request_volume: 50 }
    }
}

impl FailurePercentage {
    /// More failures than this many percent are too many; 85 unless given.
    pub fn threshold(mut self, percent: f64) -> Self {
        self.threshold = percent;
        self
    }

    /// Exactly the threshold is too many already, as Envoy has it; gRPC has not.
    pub fn inclusive(mut self, inclusive: bool) -> Self {
        self.inclusive = inclusive;
        self
    }

    /// Nobody is judged unless so many endpoints have the volume; 5 unless given.
    pub fn minimum_hosts(mut self, hosts: u32) -> Self {
        self.minimum_hosts = hosts;
        self
    }

    /// How many requests an endpoint needs in an interval to count; 50 unless given.
    pub fn request_volume(mut self, requests: u32) -> Self {
        self.request_volume = requests;
        self
    }

    /// The places of those that failed too often.
    pub(crate) fn outliers(&self, shares: &[Option<Share>]) -> Vec<usize> {
        let judged = judged(shares, self.request_volume, self.minimum_hosts);
        let too_many = |share: Share| {
            let percent = 100.0 - share.rate();
            percent > self.threshold || (self.inclusive && percent >= self.threshold)
        };
        judged.into_iter().filter(|&(_, share)| too_many(share)).map(|(place, _)| place).collect()
    }
}

/// Ejects by latency: see [`Ejection::latency`](super::Ejection::latency).
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Latency {
    factor: f64,
    intervals: u32,
    minimum_hosts: u32,
    request_volume: u32,
}

impl Default for Latency {
    /// Three times the median in three intervals in a row, of at least 5 endpoints with 10 requests each.
    fn default() -> Self {
        Self { factor: 3.0, intervals: 3, minimum_hosts: 5, request_volume: 10 }
    }
}

impl Latency {
    /// How many times the median latency is too slow; 3 unless given, at least 1.
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor.max(1.0);
        self
    }

    /// For how many intervals in a row; 3 unless given.
    pub fn intervals(mut self, intervals: u32) -> Self {
        self.intervals = intervals.max(1);
        self
    }

    /// Nobody is judged unless so many endpoints have the volume; 5 unless given.
    pub fn minimum_hosts(mut self, hosts: u32) -> Self {
        self.minimum_hosts = hosts;
        self
    }

    /// How many requests an endpoint needs in an interval to count; 10 unless given.
    pub fn request_volume(mut self, requests: u32) -> Self {
        self.request_volume = requests;
        self
    }

    pub(crate) fn needed(&self) -> u32 {
        self.intervals
    }

    /// The places of those that are too slow in this interval.
    pub(crate) fn slow(&self, windows: &[Option<Window>]) -> Vec<usize> {
        let latency = |window: &Window| {
            let judged = window.total() >= self.request_volume;
            window.latency.filter(|_| judged).map(f64::from)
        };
        let judged: Vec<(usize, f64)> = windows
            .iter()
            .enumerate()
            .filter_map(|(place, window)| Some((place, latency(window.as_ref()?)?)))
            .collect();
        if judged.len() < self.minimum_hosts.max(1) as usize {
            return Vec::new();
        }
        let mut sorted: Vec<f64> = judged.iter().map(|&(_, latency)| latency).collect();
        sorted.sort_by(f64::total_cmp);
        let threshold = sorted.get(sorted.len() / 2).map_or(f64::INFINITY, |median| median * self.factor);
        judged.into_iter().filter(|&(_, latency)| latency > threshold).map(|(place, _)| place).collect()
    }
}

/// Those with enough requests, if they are enough to compare.
fn judged(shares: &[Option<Share>], volume: u32, hosts: u32) -> Vec<(usize, Share)> {
    let judged: Vec<_> = shares
        .iter()
        .enumerate()
        .filter_map(|(place, share)| Some((place, (*share)?)))
        .filter(|(_, share)| share.total >= volume.max(1))
        .collect();
    if judged.len() < hosts as usize { Vec::new() } else { judged }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(rates: &[u32]) -> Vec<Option<Share>> {
        rates.iter().map(|&good| Some(Share { good, total: 100 })).collect()
    }

    fn table() -> serde_json::Value {
        serde_json::from_str(include_str!("../../tests/data/outlier_detection.json")).unwrap()
    }

    #[test]
    fn who_is_slow_is_told_among_as_many_as_there_have_to_be_with_as_many_requests() {
        let window = |well, failed, latency: u32| {
            Some(Window { well, failed, latency: Some(latency as f32), ..Window::default() })
        };
        let alike = [window(6, 4, 10), window(10, 0, 10), window(0, 10, 10)];
        let slow = |rule: Latency, more: Option<Window>| rule.slow(&[&alike[..], &[more]].concat());
        let rule = Latency::default().minimum_hosts(4);
        assert_eq!(slow(rule, window(4, 6, 31)), [3], "failures are requests, too");
        assert_eq!(slow(rule, window(4, 6, 30)), [0_usize; 0], "three times the median is not yet too slow");
        assert_eq!(
            slow(rule, window(4, 5, 31)),
            [0_usize; 0],
            "nine requests are too few, and three endpoints"
        );
        assert_eq!(slow(rule.request_volume(9), window(4, 5, 31)), [3]);
        assert_eq!(slow(rule.minimum_hosts(5), window(4, 6, 31)), [0_usize; 0]);
        assert_eq!(slow(Latency::default(), window(4, 6, 31)), [0_usize; 0], "five");
        assert_eq!(rule.intervals(0).needed(), 1);
    }

    #[test]
    fn envoys_threshold_is_the_mean_less_1_9_deviations_of_the_population() {
        let row = &table()["envoy_success_rate_threshold"];
        let rates: Vec<f64> =
            row["success_rates"].as_array().unwrap().iter().map(|rate| rate.as_f64().unwrap()).collect();
        let rule = SuccessRate::default().factor(row["stdev_factor"].as_f64().unwrap());
        assert_eq!(rule.threshold(&rates), row["threshold"].as_f64().unwrap());
        assert_eq!(rule.outliers(&percent(&[50, 100, 100, 100, 100])), [0]);
    }

    #[test]
    fn too_few_endpoints_or_requests_judge_nobody() {
        let rule = SuccessRate::default();
        assert!(rule.outliers(&percent(&[50, 100, 100, 100])).is_empty());
        let mut shares = percent(&[50, 100, 100, 100, 100]);
        shares[4] = Some(Share { good: 99, total: 99 });
        assert!(rule.outliers(&shares).is_empty());
        shares[4] = None;
        assert!(rule.outliers(&shares).is_empty(), "one that is ejected does not count");
    }

    #[test]
    fn who_had_no_request_is_judged_by_nobody() {
        let mut shares = percent(&[100, 100, 100, 100, 100]);
        shares.push(Some(Share { good: 0, total: 0 }));
        assert!(SuccessRate::default().request_volume(0).outliers(&shares).is_empty());
        assert!(FailurePercentage::default().request_volume(0).outliers(&shares).is_empty());
    }

    #[test]
    fn a_margin_keeps_a_single_failure_from_being_far_from_the_mean() {
        let shares = percent(&[99, 100, 100, 100, 100, 100]);
        assert_eq!(SuccessRate::default().outliers(&shares), [0]);
        assert!(SuccessRate::default().margin(5.0).outliers(&shares).is_empty());
    }

    #[test]
    fn exactly_the_threshold_is_too_many_failures_for_envoy_and_not_for_grpc() {
        let rule = FailurePercentage::default();
        let shares = percent(&[15, 14, 100, 100, 100]);
        assert_eq!(rule.outliers(&shares), [1]);
        assert_eq!(rule.inclusive(true).outliers(&shares), [0, 1]);
    }

    #[test]
    fn latency_is_held_against_the_median_of_those_with_enough_requests() {
        let window = |latency, well| Some(Window { well, latency: Some(latency), ..Window::default() });
        let windows = [
            window(1.0, 50),
            window(1.1, 50),
            window(3.4, 50),
            window(0.9, 50),
            window(1.0, 50),
            window(99.0, 1),
        ];
        assert_eq!(Latency::default().slow(&windows), [2]);
        assert!(Latency::default().slow(&windows[2..]).is_empty(), "too few to compare");
    }
}
