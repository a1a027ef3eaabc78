//! What policies that hash know an endpoint by.

use crate::endpoint::Endpoint;

/// The endpoint's label `hash_key`, for an endpoint that is to keep its place under a new name; else its id.
pub(super) fn hash_key(endpoint: &Endpoint) -> &str {
    endpoint.attributes().metadata.get("hash_key").map_or(endpoint.id(), String::as_str)
}

/// Spreads `bits` over all of `u64`, each to one other (the end of SplitMix64,
/// <https://prng.di.unimi.it/splitmix64.c>).
#[inline]
pub(super) fn spread(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
