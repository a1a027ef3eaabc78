//! MurmurHash2 for 64 bits, by which rings of Envoy's may be made.

const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
/// Envoy's, which it shares with the hash of GNU's C++ library.
const SEED: u64 = 0xc70f_6907;

/// The hash of some bytes, <https://github.com/aappleby/smhasher/wiki/MurmurHash2>.
pub(super) fn murmur2(bytes: &[u8]) -> u64 {
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let word = mixed(u64::from_le_bytes(*chunk).wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
        hash = (hash ^ word).wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let word = rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        hash = (hash ^ word).wrapping_mul(MULTIPLIER);
    }
    mixed(mixed(hash).wrapping_mul(MULTIPLIER))
}

fn mixed(word: u64) -> u64 {
    word ^ word >> 47
}
