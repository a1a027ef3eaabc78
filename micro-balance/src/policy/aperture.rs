//! A part of the endpoints for each client, such that all clients together load all endpoints alike.

use super::{Context, Policy, least_request::is_less_busy};
use crate::{endpoint::Endpoint, setting::InvalidSetting};

/// Sends requests to a part of the endpoints only: the part of the circle of endpoints that belongs to this
/// client among its peers. Many clients of many endpoints so keep few connections busy, and still all
/// endpoints get the same.
///
/// The clients divide the circle evenly, so they must agree on how many they are and who is which. Within
/// its part a client draws two endpoints and takes the one with fewer requests in flight, where an endpoint
/// at the edge of the part is drawn only as often as it is inside. Finagle's deterministic aperture,
/// <https://twitter.github.io/finagle/guide/ApertureLoadBalancers.html#deterministic-subsetting>.
///
/// ```
/// use micro_balance::policy::Aperture;
///
/// // The third of ten replicas of this program.
/// let policy = Aperture::new(2, 10)?;
/// # Ok::<(), micro_balance::InvalidSetting>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Aperture {
    instance: u32,
    peers: u32,
    least: u32,
}

impl Aperture {
    /// The part of client number `instance`, counted from 0, of `peers`; 12 endpoints or more.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] unless `instance` is below `peers`.
    pub fn new(instance: u32, peers: u32) -> Result<Self, InvalidSetting> {
        let error = || InvalidSetting::new("the client's number", instance, "below the number of clients");
        (instance < peers).then_some(Self { instance, peers, least: 12 }).ok_or_else(error)
    }

    /// Uses `endpoints` of them at least, or all if there are fewer; 12 unless given.
    pub fn least(mut self, endpoints: u32) -> Self {
        self.least = endpoints.max(1);
        self
    }
}

/// Which part of the circle of endpoints an [`Aperture`] sees.
#[derive(Clone, Debug)]
pub struct Part {
    offset: f64,
    width: f64,
    /// Where on the circle each endpoint ends.
    ends: Box<[f64]>,
}

impl Part {
    /// The endpoints inside, each with how much of it is, in the order of the circle.
    pub fn endpoints(&self) -> impl Iterator<Item = (usize, f64)> {
        let starts = std::iter::once(0.0).chain(self.ends.iter().copied());
        starts.zip(self.ends.iter().copied()).enumerate().filter_map(|(index, (start, end))| {
            let overlap = |from: f64, to: f64| (end.min(to) - start.max(from)).max(0.0);
            let (first, last) = (self.offset, self.offset + self.width);
            let inside = (overlap(first, last) + overlap(first - 1.0, last - 1.0)) / (end - start);
            // Less than this is a rounding error of the circle.
            (inside > 1e-6).then_some((index, inside.min(1.0)))
        })
    }

    fn at(&self, place: f64) -> usize {
        let place = (self.offset + place * self.width).fract();
        self.ends.partition_point(|&end| end <= place).min(self.ends.len().saturating_sub(1))
    }
}

impl Policy for Aperture {
    type Table = Part;

    fn table(&self, endpoints: &[Endpoint]) -> Part {
        let weight = |endpoint: &Endpoint| f64::from(endpoint.attributes().weight.max(1));
        let total: f64 = endpoints.iter().map(weight).sum();
        let mut sum = 0.0;
        let ends = endpoints
            .iter()
            .map(|endpoint| {
                sum += weight(endpoint);
                sum / total
            })
            .collect();
        let unit = 1.0 / f64::from(self.peers);
        let remote_unit = 1.0 / endpoints.len().max(1) as f64;
        // Whole units, so that all clients together cover the circle evenly. In Finagle's order of steps, as
        // a rounding error before the ceiling is one unit more after it.
        let units = (f64::from(self.least) * remote_unit / unit).ceil().max(1.0);
        Part { offset: f64::from(self.instance) * unit, width: (units * unit).min(1.0), ends }
    }

    #[inline]
    fn pick(&self, part: &Part, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        let first = part.at(context.chance.fraction());
        let mut again = (0..3).map(|_| part.at(context.chance.fraction()));
        let second = again.find(|&drawn| drawn != first).unwrap_or(first);
        let busier = is_less_busy(endpoints.get(second)?, endpoints.get(first)?);
        Some(if busier { second } else { first })
    }
}
