//! A key stays with its endpoint, and a change of the set moves few keys.

mod murmur;
mod part;
mod points;
mod ring;

use xxhash_rust::xxh64::xxh64;

pub use self::ring::Ring;
use self::{murmur::murmur2, ring::Place};
use super::{Context, Policy, Turnover, relief};
use crate::{endpoint::Endpoint, protocol::HashKey, setting::InvalidSetting};

/// How many different endpoints are told apart on a walk around the ring.
const DISTINCT: usize = 16;

/// Keeps each key on one endpoint by a ring of hashes: the endpoint of the first point at or after the
/// request's own hash.
///
/// An endpoint has 160 points for each unit of its weight, wherever it is and whoever is there beside it,
/// so an endpoint that comes takes only the keys it keeps, and one that goes gives away only its own. Where one
/// weighs more than 64, the points of all are halved until none does. A request that finds its endpoint unable
/// goes to the next one around the ring. A request without a [`HashKey`] goes anywhere.
///
/// Endpoints are known by their id, or by a label `hash_key`. Karger and others' consistent hashing,
/// <https://doi.org/10.1145/258533.258660>.
///
/// ```
/// use micro_balance::policy::RingHash;
///
/// let policy = RingHash::new();
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(policy.hash(b"alice"));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RingHash {
    mode: Mode,
    bound: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Stable { points: u32 },
    Envoy { least: u64, most: u64, murmur: bool },
    Grpc { least: u64, most: u64 },
    Ketama,
}

impl RingHash {
    /// 160 points for each unit of an endpoint's weight.
    pub fn new() -> Self {
        Self { mode: Mode::Stable { points: 160 }, bound: None }
    }

    /// `points` for each unit of an endpoint's weight: more are more even and take 16 bytes each.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] unless `points` is in 1..=10 000.
    pub fn with_points(points: u32) -> Result<Self, InvalidSetting> {
        let valid = (1..=10_000).contains(&points);
        let error = || InvalidSetting::new("the number of points", points, "from 1 to 10000");
        valid.then_some(Self { mode: Mode::Stable { points }, bound: None }).ok_or_else(error)
    }

    /// The ring Envoy makes, for fleets that must agree with it. Envoy's sizes are 1024 and 8 388 608,
    /// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers#ring-hash>.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] unless `1 <= least <= most <= 8 388 608`.
    pub fn envoy(least: u64, most: u64) -> Result<Self, InvalidSetting> {
        let (least, most) = sizes(least, most)?;
        Ok(Self { mode: Mode::Envoy { least, most, murmur: false }, bound: None })
    }

    /// Places endpoints by MurmurHash2, as Envoy does by `hash_function: MURMUR_HASH_2`; only for [`RingHash::envoy`]. The
    /// keys of requests are hashed by XXH64 all the same.
    pub fn murmur_hash_2(mut self) -> Self {
        if let Mode::Envoy { murmur, .. } = &mut self.mode {
            *murmur = true;
        }
        self
    }

    /// The ring gRPC makes, for fleets that must agree with it. gRPC's sizes are 1024 and 4096, and it
    /// makes none larger than 4096,
    /// <https://github.com/grpc/proposal/blob/master/A42-xds-ring-hash-lb-policy.md>.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] unless `1 <= least <= most <= 8 388 608`.
    pub fn grpc(least: u64, most: u64) -> Result<Self, InvalidSetting> {
        let (least, most) = sizes(least, most)?;
        Ok(Self { mode: Mode::Grpc { least: least.min(4096), most: most.min(4096) }, bound: None })
    }

    /// The ring of nginx's `hash … consistent`, where ids are `host:port` as nginx has them,
    /// <https://nginx.org/en/docs/http/ngx_http_upstream_module.html#hash>.
    pub fn ketama() -> Self {
        Self { mode: Mode::Ketama, bound: None }
    }

    /// Passes over an endpoint that has more than `bound` times its share of the requests in flight, by
    /// weight; at least 1.0, as in <https://arxiv.org/abs/1608.01350>. A pick then adds up the requests of
    /// all endpoints, unless the first choice is idle. The next one around the ring takes the request, or by
    /// [`RingHash::envoy`] whom Envoy gives it to.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] when `bound` is below 1 or no number.
    pub fn bounded(mut self, bound: f64) -> Result<Self, InvalidSetting> {
        self.bound = Some(relief::bound(bound)?);
        Ok(self)
    }

    /// The hash of a key as this kind of ring wants it: CRC-32 for nginx's, XXH64 for all others.
    pub fn hash(&self, key: &[u8]) -> HashKey {
        HashKey(match self.mode {
            Mode::Ketama => crc32fast::hash(key).into(),
            _ => xxh64(key, 0),
        })
    }

    /// The first endpoint from `place` on that may take another request.
    #[cold]
    fn relieve(&self, ring: &Ring, endpoints: &[Endpoint], place: Place, bound: f64) -> Option<usize> {
        let total = ((relief::in_flight(endpoints) + 1) as f64 * bound).ceil();
        let has_room = |&index: &usize| {
            let room = |endpoint: &Endpoint| {
                (endpoint.in_flight() as f64) < relief::slots(ring.weight, endpoint, total)
            };
            endpoints.get(index).is_some_and(room)
        };
        ring.walk(place).find(has_room)
    }
}

impl Default for RingHash {
    fn default() -> Self {
        Self::new()
    }
}

fn sizes(least: u64, most: u64) -> Result<(u64, u64), InvalidSetting> {
    let valid = 1 <= least && least <= most && most <= 8_388_608;
    let error = || InvalidSetting::new("the size of the ring", least..=most, "within 1..=8388608");
    valid.then_some((least, most)).ok_or_else(error)
}

impl Policy for RingHash {
    type Table = Ring;

    fn table(&self, endpoints: &[Endpoint]) -> Ring {
        let mut points = match self.mode {
            Mode::Stable { points } => points::stable(endpoints, points),
            Mode::Envoy { least, most, murmur: true } => points::scaled(endpoints, least, most, murmur2),
            Mode::Envoy { least, most, murmur: false } | Mode::Grpc { least, most } => {
                points::scaled(endpoints, least, most, |name| xxh64(name, 0))
            }
            Mode::Ketama => points::chained(endpoints),
        };
        points.sort_unstable();
        if !matches!(self.mode, Mode::Stable { .. }) {
            // Of two points in one place the endpoint that stands first has it.
            points.dedup_by_key(|point| point.0);
        }
        Ring::new(&points, endpoints.len(), relief::weight(endpoints))
    }

    fn update(&self, before: &Ring, turnover: &Turnover<'_>) -> Option<Ring> {
        match self.mode {
            _ if turnover.is_none() => Some(before.clone()),
            Mode::Stable { points } => {
                let halvings = points::halvings(turnover.after());
                if halvings != points::halvings(turnover.before()) {
                    return None;
                }
                before.update(turnover, |endpoint| points::stable_of(endpoint, points, halvings))
            }
            // Their points are not an endpoint's own affair.
            _ => None,
        }
    }

    #[inline]
    fn pick(&self, ring: &Ring, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        let hash = match context.hash {
            None => context.chance.next(),
            Some(hash) if self.mode == Mode::Ketama => hash << 32,
            Some(hash) => hash,
        };
        let place = ring.find(hash);
        if context.attempt > 0 {
            return match self.mode {
                // Envoy goes on by points, not by endpoints.
                Mode::Envoy { .. } => ring.walk(place).cycle().nth(context.attempt as usize),
                _ => next_distinct(ring.walk(place), context.attempt as usize),
            };
        }
        let first = ring.owner(place)?;
        match self.bound {
            Some(bound) if endpoints.get(first)?.in_flight() > 0 => match self.mode {
                Mode::Envoy { .. } => Some(relief::as_envoy(endpoints, ring.weight, hash, first, bound)),
                _ => self.relieve(ring, endpoints, place, bound).or(Some(first)),
            },
            _ => Some(first),
        }
    }
}

/// The endpoint after `skipped` different ones.
fn next_distinct(walk: impl Iterator<Item = usize>, skipped: usize) -> Option<usize> {
    let mut seen = [usize::MAX; DISTINCT];
    let mut count = 0;
    for index in walk {
        if seen.iter().take(count).any(|&before| before == index) {
            continue;
        }
        if count == skipped.min(DISTINCT - 1) {
            return Some(index);
        }
        seen[count] = index;
        count += 1;
    }
    None
}
