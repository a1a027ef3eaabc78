//! What is known of a request when an endpoint is picked for it.

use crate::{chance::Chance, clock::Moment, endpoint::Endpoint, parts::Parts, policy::Context, tried::Tried};

/// What is known of a request when an endpoint is picked for it.
///
/// Copied for what is seldom done, so that else it never has to be in memory.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) tried: Option<&'a Tried>,
    /// Asked a moment ago and not ready.
    pub(crate) avoid: Option<&'a Tried>,
    pub(crate) hash: Option<u64>,
    pub(crate) now: Option<Moment>,
    pub(crate) parts: Option<Parts<'a>>,
}

impl<'a> Wish<'a> {
    /// What a policy sees at the first pick.
    #[inline]
    pub(super) fn context(&self, chance: &'a Chance) -> Context<'a> {
        Context { hash: self.hash, attempt: 0, now: self.now, chance, parts: self.parts }
    }

    /// Whether the request has not been to `endpoint`.
    #[inline]
    pub(super) fn is_new(&self, endpoint: &Endpoint) -> bool {
        let unknown =
            |list: Option<&Tried>| list.is_none_or(|list| !list.contains(endpoint.stats().serial()));
        unknown(self.tried) && unknown(self.avoid)
    }
}
