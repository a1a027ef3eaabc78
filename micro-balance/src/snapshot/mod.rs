//! The endpoints that can take requests right now, as one value that never changes.
//!
//! The driver builds a new snapshot for every change and swaps it in; picks read whichever is current.

mod group;
mod groups;
mod shares;
mod wish;

use std::{collections::HashSet, fmt};

use tokio::time::Instant;

use self::group::REPICKS;
pub(crate) use self::{
    group::{Group, Member, Members},
    groups::Groups,
    shares::Shares,
    wish::Wish,
};
use crate::{
    chance::Chance,
    eligible::Counters,
    endpoint::Endpoint,
    policy::{Context, Policy},
    stats::{EJECTED, LOST, UNWELL},
    view::{Listed, State, View},
};

pub(crate) struct Snapshot<S, P: Policy> {
    /// Those a policy chooses from.
    pub(crate) groups: Groups<S, P>,
    /// Which group a request falls to.
    pub(crate) shares: Shares,
    /// Those that one request at a time may find out about.
    pub(crate) half_open: Box<[(Endpoint, S)]>,
    /// Those that take nothing new, or little as they are degraded, and go on with the sessions they have.
    pub(crate) draining: Members<S>,
    /// Those of whom there is more to say than that they are in a group and well.
    pub(crate) noted: Box<[Listed]>,
    /// How many endpoints discovery knows of.
    pub(crate) known: usize,
    /// Whether discovery has answered at all.
    pub(crate) resolved: bool,
    /// Whether requests fail as too few endpoints are well.
    pub(crate) refuses: bool,
    /// Since when there has been nobody to take requests, or the last new hope.
    pub(crate) unready_since: Option<Instant>,
}

impl<S, P: Policy> Snapshot<S, P> {
    /// Whether discovery has yet to answer, or an endpoint to be connected to or to fail.
    pub(crate) fn may_yet_be_ready(&self) -> bool {
        let untried = |listed: &Listed| {
            matches!(listed.state, State::Idle | State::Connecting) && listed.last_error.is_none()
        };
        !self.resolved || self.noted.iter().any(untried)
    }

    /// Picks an endpoint that is open, one the request has not been to if there is any.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "all of a pick becomes one function: what is known of a request stays in registers"
    )]
    pub(crate) fn pick(
        &self,
        policy: &P,
        wish: &Wish<'_>,
        chance: &Chance,
        fallbacks: &Counters,
    ) -> Option<Member<'_, S>> {
        match &self.groups {
            Groups::Plain(group) => group.pick(policy, wish, chance),
            Groups::Apart(_) => self.pick_apart(policy, *wish, chance, fallbacks),
        }
    }

    /// The one of those that are drained that the request belongs to, or else one of a group; that one again only where
    /// nobody else will do.
    #[cold]
    fn pick_apart(
        &self,
        policy: &P,
        wish: Wish<'_>,
        chance: &Chance,
        fallbacks: &Counters,
    ) -> Option<Member<'_, S>> {
        let kept = self.kept(policy, wish, chance);
        let first = kept.filter(|(endpoint, _)| wish.is_new(endpoint));
        first.or_else(|| self.pick_group(policy, wish, chance, fallbacks)).or(kept)
    }

    /// The one of those that are drained that the request belongs to.
    fn kept(&self, policy: &P, wish: Wish<'_>, chance: &Chance) -> Option<Member<'_, S>> {
        if self.draining.endpoints.is_empty() {
            return None;
        }
        let index = policy.keeps(&self.draining.endpoints, &wish.context(chance))?;
        let endpoint = self.draining.endpoints.get(index)?;
        let stats = endpoint.stats();
        let takes = stats.is_open(LOST | EJECTED | UNWELL)
            && (policy.is_strict() || wish.is_new(endpoint))
            && self.admits(policy, endpoint, &wish.context(chance));
        Some((endpoint, self.draining.services.get(index)?)).filter(|_| takes)
    }

    /// Picks from the group that the request falls to, or from the next one with somebody it has not been to; from one it
    /// belongs to first, if there is such a one, and of several whom all of them would have. Counts what gave way for a group.
    fn pick_group(
        &self,
        policy: &P,
        wish: Wish<'_>,
        chance: &Chance,
        fallbacks: &Counters,
    ) -> Option<Member<'_, S>> {
        if let [only] = &*self.groups {
            fallbacks.count(only.marks);
            return only.pick(policy, &wish, chance);
        }
        // A key stays in its group as well, but not by the bits that choose within it.
        let hash = policy.hash(&wish.context(chance));
        let draw = hash.map_or_else(|| chance.next(), |hash| Chance::new(hash).next());
        let first = self.shares.at(draw);
        let again = Context { attempt: REPICKS, ..wish.context(chance) };
        let claims = |group: &&Group<S, P>| policy.claims(&group.table, &wish.context(chance));
        let admits = |(endpoint, _): &Member<'_, S>| self.admits(policy, endpoint, &again);
        let belongs = |endpoint: &Endpoint| self.admits(policy, endpoint, &wish.context(chance));
        let around = || self.groups.iter().cycle().skip(first).take(self.groups.len());
        let claimants = around().filter(claims).map(|group| (group, true));
        let others = around().filter(|group| !claims(group)).map(|group| (group, false));
        let (mut new, mut tried) = (None, None);
        for (group, is_claimed) in claimants.chain(others) {
            if new.is_some() && !is_claimed {
                break;
            }
            fallbacks.count(group.marks);
            let picked = group.pick(policy, &wish, chance).filter(admits);
            match picked {
                Some((endpoint, _)) if !wish.is_new(endpoint) => tried = tried.or(picked),
                Some((endpoint, _)) if is_claimed && !belongs(endpoint) => new = new.or(picked),
                Some(_) => return picked,
                None => {}
            }
        }
        new.or(tried)
    }

    /// Whether the request may go to an endpoint that was not picked: as those say that it belongs to, or else any.
    fn admits(&self, policy: &P, endpoint: &Endpoint, context: &Context<'_>) -> bool {
        let first = Context { attempt: 0, ..*context };
        let admits = |group: &Group<S, P>| policy.admits(&group.table, endpoint, context);
        let mut claimants = self.groups.iter().filter(|group| policy.claims(&group.table, &first)).peekable();
        match claimants.peek() {
            Some(_) => claimants.all(admits),
            None => self.groups.is_empty() || self.groups.iter().any(admits),
        }
    }

    /// Whether the policy is strict, and wants none of those that are there for this request.
    pub(crate) fn rejects(&self, policy: &P, wish: &Wish<'_>, chance: &Chance) -> bool {
        let wants = |group: &Group<S, P>| {
            policy.pick(&group.table, &group.members.endpoints, &wish.context(chance)).is_some()
        };
        policy.is_strict() && !self.groups.is_empty() && !self.groups.iter().any(wants)
    }

    /// The endpoint at `place`, counted through all groups.
    pub(crate) fn member(&self, mut place: usize) -> Option<Member<'_, S>> {
        for group in &*self.groups {
            if place < group.len() {
                return group.member(place);
            }
            place -= group.len();
        }
        None
    }

    /// How many endpoints can be picked.
    pub(crate) fn len(&self) -> usize {
        self.groups.iter().map(Group::len).sum()
    }

    /// Everything discovery knows of, by id.
    pub(crate) fn views(&self) -> Vec<View> {
        let noted: HashSet<u64> = self.noted.iter().map(Listed::serial).collect();
        let members = self.groups.iter().flat_map(|group| &group.members.endpoints);
        let plain = members.filter(|endpoint| !noted.contains(&endpoint.stats().serial()));
        let plain = plain.map(|endpoint| Listed::plain(endpoint.clone()));
        let mut listed: Vec<_> = self.noted.iter().cloned().chain(plain).collect();
        listed.sort_by(|a, b| a.endpoint.place().cmp(&b.endpoint.place()));
        listed.iter().map(Listed::view).collect()
    }

    /// Takes the permit of a half-open endpoint that the request may go to, if there is one to be had.
    pub(crate) fn probe(&self, policy: &P, wish: Wish<'_>, chance: &Chance) -> Option<Member<'_, S>> {
        let admits = |endpoint: &Endpoint| self.admits(policy, endpoint, &wish.context(chance));
        if self.kept(policy, wish, chance).is_some() {
            return None;
        }
        let (endpoint, service) = self.half_open.iter().find(|(endpoint, _)| {
            let stats = endpoint.stats();
            wish.is_new(endpoint) && stats.is_open(LOST) && admits(endpoint) && stats.try_probe()
        })?;
        Some((endpoint, service))
    }
}

impl<S, P: Policy> fmt::Debug for Snapshot<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("groups", &&*self.groups).finish_non_exhaustive()
    }
}
