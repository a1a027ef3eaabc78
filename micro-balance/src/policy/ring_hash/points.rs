//! Where on the ring an endpoint's points are: ours, and the ways of others.

use xxhash_rust::xxh64::xxh64;

use crate::{
    endpoint::Endpoint,
    policy::hash_key::{hash_key, spread},
};

/// Parts neighbouring numbers: 2⁶⁴ divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// For how much weight an endpoint has points, and how many a ring like nginx's has: all memory there is would be soon gone.
const HEAVIEST: u32 = 64;
const MOST: u64 = 1 << 21;

/// `points` times its weight for each endpoint, whoever else is there, as long as nobody is too heavy.
pub(super) fn stable(endpoints: &[Endpoint], points: u32) -> Vec<(u64, u32)> {
    let halvings = halvings(endpoints);
    let points = |(index, endpoint): (usize, &Endpoint)| {
        stable_of(endpoint, points, halvings).map(move |point| (point, index as u32))
    };
    endpoints.iter().enumerate().flat_map(points).collect()
}

/// How often all weights are halved for the heaviest not to be too heavy.
pub(super) fn halvings(endpoints: &[Endpoint]) -> u32 {
    let heaviest = endpoints.iter().map(|endpoint| endpoint.attributes().weight).max().unwrap_or(1);
    (heaviest.saturating_sub(1) / HEAVIEST).checked_ilog2().map_or(0, |halvings| halvings + 1)
}

/// The points of one endpoint.
pub(super) fn stable_of(
    endpoint: &Endpoint,
    points: u32,
    halvings: u32,
) -> impl Iterator<Item = u64> + use<> {
    let first = xxh64(hash_key(endpoint).as_bytes(), 0);
    let count = (u64::from(points) * u64::from(endpoint.attributes().weight.max(1))) >> halvings;
    (0..count.max(1)).map(move |n| spread(first.wrapping_add(n.wrapping_mul(STEP))))
}

/// As many for each as make the lightest endpoint's number whole, within `least..=most` in all: Envoy's and
/// gRPC's rule.
pub(super) fn scaled(
    endpoints: &[Endpoint],
    least: u64,
    most: u64,
    hash: fn(&[u8]) -> u64,
) -> Vec<(u64, u32)> {
    let weight = |endpoint: &Endpoint| f64::from(endpoint.attributes().weight.max(1));
    let total: f64 = endpoints.iter().map(weight).sum();
    let lightest = endpoints.iter().map(weight).fold(f64::INFINITY, f64::min) / total;
    let scale = ((lightest * least as f64).ceil() / lightest).min(most as f64);
    let mut points = Vec::with_capacity(scale as usize + 1);
    let mut due = 0.0;
    let mut name = String::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        // Divided first, as they do: else a rounding may be worth a point.
        due += scale * (weight(endpoint) / total);
        for number in 0_u32.. {
            if points.len() as f64 >= due {
                break;
            }
            name.clear();
            name.push_str(hash_key(endpoint));
            name.push('_');
            name.push_str(&number.to_string());
            points.push((hash(name.as_bytes()), index as u32));
        }
    }
    points
}

/// 160 times its weight for each endpoint, each point the CRC-32 of the endpoint and the point before:
/// nginx's rule, as long as that makes no more than there may be. The points are in the upper half of the number.
pub(super) fn chained(endpoints: &[Endpoint]) -> Vec<(u64, u32)> {
    let wanted = |endpoint: &Endpoint| 160 * u64::from(endpoint.attributes().weight.max(1));
    let halvings = (endpoints.iter().map(wanted).sum::<u64>() / MOST).checked_ilog2().map_or(0, |n| n + 1);
    let points = |(index, endpoint): (usize, &Endpoint)| {
        let key = hash_key(endpoint);
        let mut base = crc32fast::Hasher::new();
        match key.rsplit_once(':') {
            Some((host, port)) if !key.starts_with("unix:") => {
                base.update(host.as_bytes());
                base.update(&[0]);
                base.update(port.as_bytes());
            }
            _ => {
                base.update(key.as_bytes());
                base.update(&[0]);
            }
        }
        let mut before = 0_u32;
        (0..(wanted(endpoint) >> halvings).max(1)).map(move |_| {
            let mut point = base.clone();
            point.update(&before.to_le_bytes());
            before = point.finalize();
            (u64::from(before) << 32, index as u32)
        })
    };
    endpoints.iter().enumerate().flat_map(points).collect()
}
