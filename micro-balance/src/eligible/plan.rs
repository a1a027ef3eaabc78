//! The steps in their order: who is left, in which groups, and how requests are shared between these.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{
    Eligibility, Marks,
    locality::{ByZone, Shares},
    priority::{Level, Load, Waits},
};
use crate::endpoint::Attributes;

/// What is known of an endpoint that is to be chosen from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) attributes: &'a Attributes,
    pub(crate) standing: Standing,
}

/// Whether requests can and should go to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They can, and should.
    Well,
    /// They can, where those that are well do not suffice.
    Degraded,
    /// They can, but should not: it is ejected.
    Out,
    /// They cannot, and nobody knows yet whether they will.
    New,
    /// They cannot: it is not connected.
    Unreached,
}

impl Standing {
    fn is_reached(self) -> bool {
        matches!(self, Self::Well | Self::Degraded | Self::Out)
    }
}

/// Endpoints that one pick chooses from, by their index among the candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) members: Vec<usize>,
    /// How many requests they get, relative to other groups.
    pub(crate) share: u64,
    /// Ejections are not heeded.
    pub(crate) panic: bool,
    /// Which steps gave way.
    pub(crate) marks: Marks,
}

/// Who is chosen from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Eligible {
    /// The groups; none where nobody can be reached.
    pub(crate) groups: Vec<Plan>,
    /// Those that would be in a group if they were not ejected.
    pub(crate) out: Vec<usize>,
    /// Whether requests fail as too few are well.
    pub(crate) refuses: bool,
}

/// What happens where too few endpoints are well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panic {
    /// Of all, how many percent are enough.
    pub(crate) percent: u32,
    /// Whether requests fail, rather than go to those that are not well.
    pub(crate) refuses: bool,
}

impl Eligibility {
    /// Takes the steps. Ejections are not heeded in a level where fewer than `panic` percent are well.
    pub(crate) fn plan(&self, candidates: &[Candidate<'_>], panic: Panic, waits: &mut Waits) -> Eligible {
        let (kept, drained) = undrained(candidates);
        let levels = by_priority(candidates, &kept);
        let counts: Vec<_> = levels.values().map(|level| count(candidates, level)).collect();
        let now = Instant::now();
        waits.begin(|priority| levels.contains_key(&priority));
        let waited_for: Vec<_> = levels
            .keys()
            .zip(&counts)
            .map(|(&priority, level)| waits.is_waited_for(self.priority, priority, level, now))
            .collect();
        let loads = self.priority.loads_while(&counts, &waited_for, panic.percent);
        let mut eligible = Eligible::default();
        for (index, (level, load)) in levels.values().zip(loads).enumerate() {
            if load.healthy + load.degraded > 0 {
                let marks = drained.with(Marks::PRIORITY.when(index > 0));
                if panic.refuses && load.panic && counts[index].is_known() {
                    let out = |index: &usize| candidates[*index].standing == Standing::Out;
                    eligible.out.extend(level.iter().copied().filter(out));
                    eligible.refuses = true;
                } else {
                    self.part(candidates, level, load, marks, &mut eligible);
                }
            }
        }
        eligible.groups.retain(|group| !group.members.is_empty());
        let gives_way = panic.percent > 0 && !eligible.refuses && !waited_for.contains(&true);
        if eligible.groups.is_empty() && gives_way {
            // Those that were to take the requests cannot be reached: anybody who can.
            let reached = |&index: &usize| candidates[index].standing.is_reached();
            let members: Vec<_> = kept.into_iter().filter(reached).collect();
            let marks = drained.with(Marks::PRIORITY).with(Marks::PANIC);
            eligible.groups.push(Plan { members, share: 1, panic: true, marks });
            eligible.groups.retain(|group| !group.members.is_empty());
        }
        eligible
    }

    /// Adds the groups of one level.
    fn part(
        &self,
        candidates: &[Candidate<'_>],
        level: &[usize],
        load: Load,
        marks: Marks,
        eligible: &mut Eligible,
    ) {
        let of = |is: &dyn Fn(Standing) -> bool| -> Vec<usize> {
            level.iter().copied().filter(|&index| is(candidates[index].standing)).collect()
        };
        let (all, out) = (load.healthy + load.degraded, of(&|it| it == Standing::Out));
        let mut add = |members, load, panic, marks| {
            eligible.groups.extend(self.zones(candidates, level, members, Part { load, panic, marks }));
        };
        if load.panic {
            let marks = marks.with(Marks::PANIC.when(!out.is_empty()));
            return add(of(&Standing::is_reached), all, true, marks);
        }
        let (well, degraded) = (of(&|it| it == Standing::Well), of(&|it| it == Standing::Degraded));
        // Where there is nobody of one kind, the other takes it all.
        let spared = match (well.is_empty(), degraded.is_empty()) {
            (_, true) => all,
            (true, false) => 0,
            (false, false) => load.healthy,
        };
        if spared > 0 {
            add(well, spared, false, marks);
        }
        if spared < all {
            add(degraded, all - spared, false, marks.with(Marks::DEGRADED));
        }
        eligible.out.extend(out);
    }

    /// Those of `level` who take a part of the requests, by zone.
    fn zones(
        &self,
        candidates: &[Candidate<'_>],
        level: &[usize],
        members: Vec<usize>,
        Part { load, panic, marks }: Part,
    ) -> impl Iterator<Item = Plan> + use<> {
        let parted = match self.locality.is_any() {
            true => None,
            false => self.locality.part(&by_zone(candidates, level, &members), panic),
        };
        let marks = marks.with(Marks::LOCALITY.when(parted.is_none() && !self.locality.is_any()));
        let shares: Shares = parted.unwrap_or_else(|| vec![(1, members)]);
        let total = shares.iter().map(|(share, _)| u128::from(*share)).sum::<u128>().max(1);
        let load = u128::from(load) * FINE;
        shares.into_iter().map(move |(part, members)| Plan {
            members,
            share: ((load * u128::from(part) / total) as u64).max(1),
            panic,
            marks,
        })
    }
}

/// What some of one level take.
struct Part {
    /// In percent of all requests.
    load: u32,
    panic: bool,
    marks: Marks,
}

/// Into how many parts a percent of the requests is divided between zones.
const FINE: u128 = 1_000_000;

/// Without those of weight 0, unless no others can be reached.
fn undrained(candidates: &[Candidate<'_>]) -> (Vec<usize>, Marks) {
    let weighs = |candidate: &Candidate<'_>| candidate.attributes.weight > 0;
    let reached = |candidate: &&Candidate<'_>| candidate.standing.is_reached();
    let all = || 0..candidates.len();
    if candidates.iter().filter(reached).any(weighs) || !candidates.iter().any(|c| reached(&c)) {
        (all().filter(|&index| weighs(&candidates[index])).collect(), Marks::default())
    } else {
        (all().collect(), Marks::DRAINED)
    }
}

fn by_priority(candidates: &[Candidate<'_>], kept: &[usize]) -> BTreeMap<u32, Vec<usize>> {
    let mut levels = BTreeMap::<u32, Vec<usize>>::new();
    for &index in kept {
        levels.entry(candidates[index].attributes.priority).or_default().push(index);
    }
    levels
}

fn count(candidates: &[Candidate<'_>], level: &[usize]) -> Level {
    let of = |standing| level.iter().filter(|&&index| candidates[index].standing == standing).count() as u32;
    Level {
        hosts: level.len() as u32,
        healthy: of(Standing::Well),
        degraded: of(Standing::Degraded),
        excluded: of(Standing::New),
    }
}

fn by_zone(candidates: &[Candidate<'_>], level: &[usize], members: &[usize]) -> ByZone {
    let mut zones = ByZone::new();
    let name = |index: usize| candidates[index].attributes.zone.as_deref().unwrap_or_default().to_owned();
    for &index in level.iter().filter(|&&index| candidates[index].standing != Standing::New) {
        zones.entry(name(index)).or_default().hosts += 1;
    }
    for &index in members {
        zones.entry(name(index)).or_default().members.push(index);
    }
    zones
}

#[cfg(test)]
mod tests;
