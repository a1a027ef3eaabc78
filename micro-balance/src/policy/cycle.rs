//! An order of endpoints that repeats: worked out once, then walked by a counter.

use crate::endpoint::Endpoint;

/// How long a cycle gets at most, unless there are more endpoints. Four bytes a place.
const LONGEST: u64 = 1 << 16;

/// Into how many parts a weight is divided while an endpoint starts slowly.
const FINE: f64 = 10_000.0;

/// One round of a weighted order; nothing where weights are alike, as that is plain round robin.
#[derive(Clone, Debug)]
pub struct Cycle(Option<Box<[u32]>>);

impl Cycle {
    /// The round that `order` makes of weights without a common divisor.
    pub(super) fn new(endpoints: &[Endpoint], order: impl FnOnce(&[u32]) -> Vec<u32>) -> Self {
        let warm = endpoints.iter().all(|endpoint| endpoint.warmth() == 1.0);
        let fine = if warm { 1.0 } else { FINE };
        Self::of(endpoints.iter().map(|endpoint| endpoint.weight() * fine), order)
    }

    /// The round in which endpoints that start slowly have a part of the turns that the others have.
    pub(super) fn of_warmth(endpoints: &[Endpoint]) -> Self {
        if endpoints.iter().all(|endpoint| endpoint.warmth() == 1.0) {
            return Self(None);
        }
        Self::of(endpoints.iter().map(|endpoint| endpoint.warmth() * FINE), by_deadline)
    }

    fn of(weights: impl Iterator<Item = f64>, order: impl FnOnce(&[u32]) -> Vec<u32>) -> Self {
        let whole = |weight: f64| weight.round().clamp(1.0, f64::from(u32::MAX)) as u32;
        let weights: Vec<_> = weights.map(whole).collect();
        let differ = weights.windows(2).any(|pair| pair[0] != pair[1]);
        Self(differ.then(|| order(&reduced(weights)).into()))
    }

    /// Whether all have as many turns.
    pub(super) fn is_even(&self) -> bool {
        self.0.is_none()
    }

    /// The endpoint at `step` of the endless repetition.
    #[inline]
    pub(super) fn at(&self, step: usize, count: usize) -> Option<usize> {
        match &self.0 {
            None => step.checked_rem(count),
            Some(order) => order.get(step.checked_rem(order.len())?).map(|&index| index as usize),
        }
    }
}

/// The weights divided by what divides them all, and made smaller in proportion where a round would be too
/// long.
fn reduced(mut weights: Vec<u32>) -> Vec<u32> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let total: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
    let longest = LONGEST.max(weights.len() as u64 * 4);
    for weight in &mut weights {
        *weight /= divisor;
        if total > longest {
            *weight = (f64::from(*weight) * longest as f64 / total as f64).round().max(1.0) as u32;
        }
    }
    weights
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Who is due next when each is due once every `1 / weight`. Who weighs less goes first where two are due
/// at once, then who stands first.
pub(super) fn by_deadline(weights: &[u32]) -> Vec<u32> {
    let turns = |(index, &weight): (usize, &u32)| (1..=weight).map(move |turn| (turn, weight, index as u32));
    let mut order: Vec<_> = weights.iter().enumerate().flat_map(turns).collect();
    order.sort_unstable_by(|a, b| {
        let due = u64::from(a.0) * u64::from(b.1);
        due.cmp(&(u64::from(b.0) * u64::from(a.1))).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2))
    });
    order.into_iter().map(|(_, _, index)| index).collect()
}
