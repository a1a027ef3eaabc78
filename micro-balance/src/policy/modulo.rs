//! A key's hash modulo the number of endpoints.

use super::{Context, Policy};
use crate::{endpoint::Endpoint, protocol::HashKey};

/// Keeps each key on one endpoint for as long as the set stays as it is: the hash modulo their number. A
/// change moves nearly every key, so this is only for agreement with others, as go-micro's
/// `wrapper/select/shard`.
///
/// A key that is turned down goes anywhere, and so does a request without one.
///
/// ```
/// use micro_balance::policy::Modulo;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Modulo::hash(b"hello"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Modulo;

impl Modulo {
    /// The hash of a key, by CRC-32 (IEEE) as go-micro's.
    pub fn hash(key: &[u8]) -> HashKey {
        HashKey(crc32fast::hash(key).into())
    }
}

impl Policy for Modulo {
    type Table = ();

    fn table(&self, _: &[Endpoint]) {}

    #[inline]
    fn pick(&self, (): &(), endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        match context.hash {
            Some(hash) if context.attempt == 0 => {
                hash.checked_rem(endpoints.len() as u64).map(|index| index as usize)
            }
            _ => Some(context.chance.below(endpoints.len())),
        }
    }
}
