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

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Envoy's own test of it.
    #[test]
    fn it_is_the_one_that_envoy_has() {
        for (bytes, hash) in [
            ("foo", 9_631_199_822_919_835_226),
            ("bar", 11_474_628_671_133_349_555),
            ("foo\nbar", 16_306_510_975_912_980_159),
            ("lyft", 12_847_078_931_730_529_320),
            ("", 6_142_509_188_972_423_790),
        ] {
            assert_eq!(murmur2(bytes.as_bytes()), hash, "{bytes:?}");
        }
    }
}
