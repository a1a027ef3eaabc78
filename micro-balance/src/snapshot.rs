//! The endpoints that can take requests right now, as one value that never changes.
//!
//! The driver builds a new snapshot for every change and swaps it in; picks read whichever is current.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, OnceLock, atomic::AtomicU64},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::Notify, task::AbortHandle, time::Instant};

use crate::{
    chance::Chance,
    clock::{Clock, Moment},
    eligible::{Counters, Marks},
    endpoint::Endpoint,
    over::Over,
    parts::Parts,
    policy::{Context, Policy},
    settings::Settings,
    stats::{EJECTED, LOST, UNWELL},
    tried::Tried,
    view::{Listed, State, View},
};

/// What handles and driver of one balancer share.
pub(crate) struct Shared<S, P: Policy, T> {
    pub(crate) snapshot: ArcSwap<Snapshot<S, P>>,
    /// Counts snapshots, each time after a new one is in its place.
    pub(crate) version: AtomicU64,
    pub(crate) policy: P,
    pub(crate) protocol: T,
    /// For a policy that measures times.
    pub(crate) timed: Option<Clock>,
    /// Wakes requests that found nobody, at each new snapshot.
    pub(crate) changed: Arc<Notify>,
    pub(crate) failfast: Duration,
    pub(crate) settings: Arc<Settings>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) over: Over,
    /// Requests for which a step of eligibility gave way.
    pub(crate) fallbacks: Counters,
    /// Stops the driver with the last handle; the driver itself holds none.
    pub(crate) driver: OnceLock<AbortOnDrop>,
    /// Stops the task that probes for the policy, likewise.
    pub(crate) prober: OnceLock<AbortOnDrop>,
}

impl<S, P: Policy, T> Shared<S, P, T> {
    /// The time, if anybody wants to know.
    #[inline]
    pub(crate) fn now(&self) -> Option<Moment> {
        self.timed.as_ref().map(Clock::now)
    }
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(pub(crate) AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) struct Snapshot<S, P: Policy> {
    /// Those a policy chooses from; one group unless priorities or zones share requests.
    pub(crate) groups: Box<[Group<S, P>]>,
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

/// How requests are shared between groups: running sums.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shares(Box<[u64]>);

impl Shares {
    pub(crate) fn new(shares: impl Iterator<Item = u64>) -> Self {
        let mut sum = 0_u64;
        Self(
            shares
                .map(|share| {
                    sum = sum.saturating_add(share);
                    sum
                })
                .collect(),
        )
    }

    /// The group that any number falls to.
    fn at(&self, draw: u64) -> usize {
        let total = self.0.last().copied().unwrap_or(1);
        let place = ((u128::from(draw) * u128::from(total)) >> 64) as u64;
        self.0.iter().position(|&end| place < end).unwrap_or(0)
    }
}

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

/// Re-picks before any other endpoint is taken.
const REPICKS: u32 = 3;

/// An endpoint and its service.
pub(crate) type Member<'a, S> = (&'a Endpoint, &'a S);

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
        if !self.draining.endpoints.is_empty()
            && let Some(member) = self.kept(policy, *wish, chance)
        {
            return Some(member);
        }
        // Nearly always there is one group: what else there may be is told apart where that is not so.
        let [only] = &*self.groups else { return self.pick_group(policy, *wish, chance, fallbacks) };
        only.pick(policy, wish, chance, fallbacks)
    }

    /// The one of those that are drained that the request belongs to.
    #[cold]
    fn kept(&self, policy: &P, wish: Wish<'_>, chance: &Chance) -> Option<Member<'_, S>> {
        let index = policy.keeps(&self.draining.endpoints, &wish.context(chance))?;
        let endpoint = self.draining.endpoints.get(index)?;
        let stats = endpoint.stats();
        let takes = stats.is_open(LOST | EJECTED | UNWELL) && (policy.is_strict() || wish.is_new(endpoint));
        Some((endpoint, self.draining.services.get(index)?)).filter(|_| takes)
    }

    /// Picks from the group that the request falls to, or from the next one with somebody it has not been to; from one it
    /// belongs to first, if there is such a one.
    #[cold]
    fn pick_group(
        &self,
        policy: &P,
        wish: Wish<'_>,
        chance: &Chance,
        fallbacks: &Counters,
    ) -> Option<Member<'_, S>> {
        // A key stays in its group as well, but not by the bits that choose within it.
        let draw = wish.hash.map_or_else(|| chance.next(), |hash| Chance::new(hash).next());
        let first = self.shares.at(draw);
        let again = Context { attempt: REPICKS, ..wish.context(chance) };
        let claims = |group: &&Group<S, P>| policy.claims(&group.table, &wish.context(chance));
        let admits = |(endpoint, _): &Member<'_, S>| self.admits(policy, endpoint, &again);
        let around = || self.groups.iter().cycle().skip(first).take(self.groups.len());
        let mut tried = None;
        for group in around().filter(claims).chain(around().filter(|group| !claims(group))) {
            let picked = group.pick(policy, &wish, chance, fallbacks).filter(admits);
            match picked {
                Some((endpoint, _)) if wish.is_new(endpoint) => return picked,
                _ => tried = tried.or(picked),
            }
        }
        tried
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
        for group in &self.groups {
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
        if !self.draining.endpoints.is_empty() && self.kept(policy, wish, chance).is_some() {
            return None;
        }
        let (endpoint, service) = self.half_open.iter().find(|(endpoint, _)| {
            let stats = endpoint.stats();
            wish.is_new(endpoint) && stats.is_open(LOST) && admits(endpoint) && stats.try_probe()
        })?;
        Some((endpoint, service))
    }
}

impl<'a> Wish<'a> {
    /// What a policy sees at the first pick.
    #[inline]
    fn context(&self, chance: &'a Chance) -> Context<'a> {
        Context { hash: self.hash, attempt: 0, now: self.now, chance, parts: self.parts }
    }

    /// Whether the request has not been to `endpoint`.
    #[inline]
    fn is_new(&self, endpoint: &Endpoint) -> bool {
        let unknown =
            |list: Option<&Tried>| list.is_none_or(|list| !list.contains(endpoint.stats().serial()));
        unknown(self.tried) && unknown(self.avoid)
    }
}

impl<S, P: Policy> Group<S, P> {
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "all of a pick becomes one function: what is known of a request stays in registers"
    )]
    fn pick(
        &self,
        policy: &P,
        wish: &Wish<'_>,
        chance: &Chance,
        fallbacks: &Counters,
    ) -> Option<Member<'_, S>> {
        if !self.marks.is_empty() {
            fallbacks.count(self.marks);
        }
        if policy.is_strict() {
            let index = policy.pick(&self.table, &self.members.endpoints, &wish.context(chance))?;
            let member = self.member(index)?;
            let fresh = self.is_fresh(member.0, wish);
            return if fresh { Some(member) } else { self.pick_strictly(policy, *wish, chance, member) };
        }
        if self.len() <= 1 {
            return self.member(0).filter(|(endpoint, _)| endpoint.stats().is_open(self.mask));
        }
        // Nearly always the first pick will do: the context of that one is never written to memory.
        let index = policy.pick(&self.table, &self.members.endpoints, &wish.context(chance));
        match index.and_then(|index| self.member(index)) {
            Some(member) if self.is_fresh(member.0, wish) => Some(member),
            Some(_) => self.pick_again(policy, *wish, chance),
            None => self.any(policy, *wish, chance),
        }
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
    fn len(&self) -> usize {
        self.members.endpoints.len()
    }

    #[inline]
    fn member(&self, index: usize) -> Option<Member<'_, S>> {
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

impl<S, P: Policy> fmt::Debug for Snapshot<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("groups", &self.groups).finish_non_exhaustive()
    }
}

impl<S, P: Policy> fmt::Debug for Group<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("endpoints", &self.members.endpoints).finish_non_exhaustive()
    }
}
