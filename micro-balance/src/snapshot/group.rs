//! Endpoints that one pick chooses from.

use std::fmt;

use super::Wish;
use crate::{
    chance::Chance,
    eligible::Marks,
    endpoint::Endpoint,
    policy::{Context, Policy},
};

/// Re-picks before any other endpoint is taken.
pub(super) const REPICKS: u32 = 3;

/// Endpoints that one pick chooses from.
pub(crate) struct Group<S, P: Policy> {
    pub(crate) members: Members<S>,
    pub(crate) table: P::Table,
    /// Which bars of an endpoint count: in panic, ejections do not.
    pub(crate) mask: u8,
    /// Which steps of eligibility gave way.
    pub(crate) marks: Marks,
}

/// Endpoints in the order of their ids, and their services by the same index.
#[derive(Clone)]
pub(crate) struct Members<S> {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) services: Vec<S>,
}

impl<S> Default for Members<S> {
    fn default() -> Self {
        Self { endpoints: Vec::new(), services: Vec::new() }
    }
}

impl<S> FromIterator<(Endpoint, S)> for Members<S> {
    fn from_iter<I: IntoIterator<Item = (Endpoint, S)>>(members: I) -> Self {
        let (endpoints, services) = members.into_iter().unzip();
        Self { endpoints, services }
    }
}

/// An endpoint and its service.
pub(crate) type Member<'a, S> = (&'a Endpoint, &'a S);

impl<S, P: Policy> Group<S, P> {
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "all of a pick becomes one function: what is known of a request stays in registers"
    )]
    pub(super) fn pick(&self, policy: &P, wish: &Wish<'_>, chance: &Chance) -> Option<Member<'_, S>> {
        if policy.is_strict() {
            let index = policy.pick(&self.table, &self.members.endpoints, &wish.context(chance))?;
            let member = self.member(index)?;
            let fresh = self.is_fresh(member.0, wish);
            return if fresh { Some(member) } else { self.pick_strictly(policy, *wish, chance, member) };
        }
        if self.len() <= 1 {
            return self.only();
        }
        // Nearly always the first pick will do: the context of that one is never written to memory.
        let index = policy.pick(&self.table, &self.members.endpoints, &wish.context(chance));
        match index.and_then(|index| self.member(index)) {
            Some(member) if self.is_fresh(member.0, wish) => Some(member),
            Some(_) => self.pick_again(policy, *wish, chance),
            None => self.any(policy, *wish, chance),
        }
    }

    /// The one that there is. Out of the way, as nobody chooses there: so a pick among several jumps over nothing.
    #[cold]
    fn only(&self) -> Option<Member<'_, S>> {
        self.member(0).filter(|(endpoint, _)| endpoint.stats().is_open(self.mask))
    }

    /// Picks once more, as the first pick was turned down.
    #[cold]
    fn pick_again(&self, policy: &P, wish: Wish<'_>, chance: &Chance) -> Option<Member<'_, S>> {
        for attempt in 1..=REPICKS {
            let context = Context { attempt, ..wish.context(chance) };
            let Some(index) = policy.pick(&self.table, &self.members.endpoints, &context) else { break };
            let Some(member) = self.member(index) else { break };
            if self.is_fresh(member.0, &wish) {
                return Some(member);
            }
        }
        self.any(policy, wish, chance)
    }

    /// The same, by a policy that must not be overruled; `first` where there is nobody else.
    #[cold]
    fn pick_strictly<'a>(
        &'a self,
        policy: &P,
        wish: Wish<'_>,
        chance: &Chance,
        first: Member<'a, S>,
    ) -> Option<Member<'a, S>> {
        let again = |attempt| {
            let context = Context { attempt, ..wish.context(chance) };
            policy.pick(&self.table, &self.members.endpoints, &context)
        };
        let picks = (1..=REPICKS).map_while(|attempt| self.member(again(attempt)?));
        let admits =
            |(endpoint, _): &Member<'_, S>| policy.admits(&self.table, endpoint, &wish.context(chance));
        let others = (0..self.len()).filter_map(|index| self.member(index)).filter(admits);
        let fresh = picks.chain(others).find(|(endpoint, _)| self.is_fresh(endpoint, &wish));
        fresh.or_else(|| Some(first).filter(|(endpoint, _)| endpoint.stats().is_open(self.mask)))
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.members.endpoints.len()
    }

    #[inline]
    pub(super) fn member(&self, index: usize) -> Option<Member<'_, S>> {
        Some((self.members.endpoints.get(index)?, self.members.services.get(index)?))
    }

    /// The first fresh endpoint from a random place on, or the first that is open at all, of those the policy admits.
    #[cold]
    fn any(&self, policy: &P, wish: Wish<'_>, chance: &Chance) -> Option<Member<'_, S>> {
        let start = chance.below(self.len());
        let context = Context { attempt: REPICKS, ..wish.context(chance) };
        let admits = |(endpoint, _): &Member<'_, S>| policy.admits(&self.table, endpoint, &context);
        let around =
            || (start..self.len()).chain(0..start).filter_map(|index| self.member(index)).filter(admits);
        around()
            .find(|(endpoint, _)| self.is_fresh(endpoint, &wish))
            .or_else(|| around().find(|(endpoint, _)| endpoint.stats().is_open(self.mask)))
    }

    #[inline]
    fn is_fresh(&self, endpoint: &Endpoint, wish: &Wish<'_>) -> bool {
        endpoint.stats().is_open(self.mask) && wish.is_new(endpoint)
    }
}

impl<S, P: Policy> fmt::Debug for Group<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("endpoints", &self.members.endpoints).finish_non_exhaustive()
    }
}
