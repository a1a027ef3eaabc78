//! Who takes a request whose own endpoint has too many.

use crate::{endpoint::Endpoint, setting::InvalidSetting};

/// How many times its share of the requests an endpoint may have.
pub(super) fn bound(bound: f64) -> Result<f64, InvalidSetting> {
    let valid = bound >= 1.0 && bound.is_finite();
    valid
        .then_some(bound)
        .ok_or_else(|| InvalidSetting::new("the bound of an endpoint's load", bound, "1 or more"))
}

pub(super) fn in_flight(endpoints: &[Endpoint]) -> u64 {
    endpoints.iter().map(Endpoint::in_flight).sum()
}

pub(super) fn weight(endpoints: &[Endpoint]) -> f64 {
    endpoints.iter().map(|endpoint| f64::from(endpoint.attributes().weight.max(1))).sum()
}

/// How many of `total` requests an endpoint may have, where all together weigh `weight`.
pub(super) fn slots(weight: f64, endpoint: &Endpoint, total: f64) -> f64 {
    (total * (f64::from(endpoint.attributes().weight.max(1)) / weight)).ceil().max(1.0)
}

/// The endpoint that Envoy gives a request to whose own is `first`; its bound is in percent.
#[cold]
pub(super) fn as_envoy(endpoints: &[Endpoint], weight: f64, hash: u64, first: usize, bound: f64) -> usize {
    let percent = (bound * 100.0).round() as u64;
    let total = (in_flight(endpoints) + 1).saturating_mul(percent).div_ceil(100) as f64;
    let load = |index: usize| {
        let load = |endpoint: &Endpoint| endpoint.in_flight() as f64 / slots(weight, endpoint, total);
        endpoints.get(index).map_or(f64::INFINITY, load)
    };
    if load(first) <= 1.0 { first } else { shuffled(hash, first, endpoints.len(), load) }
}

/// The first endpoint that has no more than it may, in an order that the request's hash shuffles, or else the one that
/// has the least too many: Envoy's rule, so that what one endpoint is relieved of is not all its neighbour's,
/// <https://arxiv.org/abs/1908.08762>.
///
/// `load` is what an endpoint has as a part of what it may have; `first` is the request's own, and has too many.
fn shuffled(hash: u64, first: usize, count: usize, load: impl Fn(usize) -> f64) -> usize {
    let (mut best, mut least) = (first, load(first));
    let mut random = Twister::new(hash as u32);
    let mut order: Vec<usize> = (0..count).collect();
    for place in 0..count {
        order.swap(place, place + random.below((count - place) as u32) as usize);
        let index = order[place];
        let its = load(index);
        if its <= 1.0 && index != first {
            return index;
        }
        if its < least {
            (best, least) = (index, its);
        }
    }
    best
}

/// Words of state.
const SIZE: usize = 624;
/// Which word is mixed with which.
const APART: usize = 397;

/// The random numbers by which Envoy shuffles: MT19937, <https://doi.org/10.1145/272991.272995>.
struct Twister {
    state: [u32; SIZE],
    next: usize,
}

impl Twister {
    fn new(seed: u32) -> Self {
        let mut state = [seed; SIZE];
        for index in 1..SIZE {
            let before = state[index - 1];
            state[index] = (before ^ before >> 30).wrapping_mul(1_812_433_253).wrapping_add(index as u32);
        }
        Self { state, next: SIZE }
    }

    fn twist(&mut self) {
        for index in 0..SIZE {
            let word = self.state[index] & 1 << 31 | self.state[(index + 1) % SIZE] & !(1 << 31);
            let odd = if word & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[index] = self.state[(index + APART) % SIZE] ^ word >> 1 ^ odd;
        }
        self.next = 0;
    }

    fn next(&mut self) -> u32 {
        if self.next == SIZE {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= word << 7 & 0x9d2c_5680;
        word ^= word << 15 & 0xefc6_0000;
        word ^ word >> 18
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: u32) -> u32 {
        let part = (1_u64 << 32) / u64::from(limit.max(1));
        loop {
            let number = (u64::from(self.next()) / part) as u32;
            if number < limit.max(1) {
                return number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_endpoint_with_too_many_is_relieved_by_whom_envoy_has_relieve_it() {
        let table = include_str!("../../tests/data/envoy_bounded_load.json");
        for case in serde_json::from_str::<Value>(table).unwrap()["cases"].as_array().unwrap() {
            let number = |name: &str| case[name].as_u64().unwrap();
            let loads: Vec<_> =
                case["loads"].as_array().unwrap().iter().map(|load| load.as_f64().unwrap()).collect();
            let pick = shuffled(number("hash"), number("first") as usize, loads.len(), |index| loads[index]);
            assert_eq!(pick as u64, number("pick"), "{case}");
        }
    }

    #[test]
    fn the_ten_thousandth_number_is_that_of_the_standard() {
        let mut twister = Twister::new(5489);
        assert_eq!((0..10_000).map(|_| twister.next()).last(), Some(4_123_659_995));
    }

    #[test]
    fn a_number_is_below_its_limit_where_that_does_not_divide_all_there_are() {
        let mut twister = Twister::new(5489);
        // One in 64 000 would be the limit.
        assert!((0..1_000_000).all(|_| twister.below(100_000) < 100_000));
    }
}
