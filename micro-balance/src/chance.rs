//! Randomness that comes in from outside: a seed makes every pick of a run repeatable.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Step of the sequence, and what it is mixed with: the primes of wyhash.
const STEP: u64 = 0x2d35_8dcc_aa6c_78a5;
const MIX: u64 = 0x8bb8_4b93_962e_acc9;

/// A stream of random numbers for one handle of a balancer (wyrand,
/// <https://github.com/wangyi-fudan/wyhash>): one multiplication for each.
///
/// A clone is a stream of its own, so handles on different threads never share a cache line.
#[derive(Debug)]
pub struct Chance {
    state: AtomicU64,
}

impl Chance {
    /// The stream that starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }

    /// The next number, uniform over all of `u64`.
    #[inline]
    pub fn next(&self) -> u64 {
        // Only one task uses a handle at a time: a load and a store, cheaper than one locked addition. Were
        // it ever shared, two callers could see the same number, and nothing worse.
        let state = self.state.load(Relaxed).wrapping_add(STEP);
        self.state.store(state, Relaxed);
        mix(state)
    }

    /// A number below `limit`, uniform but for a bias of less than `limit / 2³²`; 0 when `limit` is 0.
    #[inline]
    pub fn below(&self, limit: usize) -> usize {
        scale(self.next() as u32, limit)
    }

    /// Two different numbers below `limit`, in random order; `limit` is at least 2.
    #[inline]
    pub fn two_below(&self, limit: usize) -> (usize, usize) {
        let bits = self.next();
        let first = scale(bits as u32, limit);
        // Drawn from one place fewer, then moved past the first: each pair is equally likely.
        let second = scale((bits >> 32) as u32, limit.saturating_sub(1));
        // Added, not chosen: which of the two it is cannot be predicted.
        (first, second + usize::from(second >= first))
    }

    /// A number in `0.0..1.0`.
    pub fn fraction(&self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Clone for Chance {
    fn clone(&self) -> Self {
        // An atomic addition, since clones may be taken from several threads at once: no two start alike.
        Self::new(mix(self.state.fetch_add(STEP, Relaxed) ^ STEP.rotate_left(32)))
    }
}

#[inline]
fn mix(state: u64) -> u64 {
    let product = u128::from(state) * u128::from(state ^ MIX);
    (product >> 64) as u64 ^ product as u64
}

/// Maps 32 random bits to `0..limit` by a multiplication: no division on the request path.
#[inline]
fn scale(bits: u32, limit: usize) -> usize {
    ((u64::from(bits) * limit as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_and_a_clone_another() {
        let (a, b) = (Chance::new(7), Chance::new(7));
        let clones = [a.clone(), b.clone()];
        assert_eq!(a.next(), b.next());
        let [first, second] = clones.map(|clone| clone.next());
        assert_eq!(first, second);
        assert_ne!(a.next(), first);
    }

    #[test]
    fn two_draws_differ_and_every_pair_is_as_likely() {
        let chance = Chance::new(1);
        let mut seen = [[0_u32; 4]; 4];
        for _ in 0..12_000 {
            let (a, b) = chance.two_below(4);
            seen[a][b] += 1;
        }
        for (a, row) in seen.iter().enumerate() {
            for (b, &count) in row.iter().enumerate() {
                let expected = if a == b { 0..1 } else { 850..1150 };
                assert!(expected.contains(&count), "pair {a},{b} was drawn {count} times");
            }
        }
    }
}
