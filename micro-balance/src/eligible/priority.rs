//! Which levels of priority take requests, and how many.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::panic::panics;

/// How many percent of what is needed a level has, as Envoy has it.
const USUAL: u32 = 140;

/// How endpoints of a higher priority number stand in for those of a lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Priority(Rule);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Failover { patience: Duration },
    Proportional { overprovisioning: u32 },
}

impl Default for Priority {
    fn default() -> Self {
        Self::failover()
    }
}

impl Priority {
    /// The lowest number that has an endpoint ready takes all requests, and the next one none until then;
    /// the default. Endpoints that are [degraded](crate::Attributes::degraded) are left for when no level has a better one,
    /// or too few in its own. gRPC's priority policy,
    /// <https://github.com/grpc/proposal/blob/master/A56-priority-lb-policy.md>, but without a wait: while
    /// the first level is still connecting, the next one serves. Where no level has anybody ready, ejected ones that can be
    /// reached serve, whatever their number, unless [ejections always count](crate::Ejection::panic_percent).
    pub fn failover() -> Self {
        Self(Rule::Failover { patience: Duration::ZERO })
    }

    /// gRPC's: a level that is connecting is waited for, for 10 s, before the next one serves.
    pub fn grpc() -> Self {
        Self::failover().patience(Duration::from_secs(10))
    }

    /// How long a level that has yet to connect is waited for before the next one serves, and no longer
    /// than until it is known that nobody in it can be reached. Not at all unless given. Only for [`Priority::failover`].
    pub fn patience(mut self, wait: Duration) -> Self {
        if let Rule::Failover { patience } = &mut self.0 {
            *patience = wait;
        }
        self
    }

    /// Each level takes as much as it is well, and the next takes the rest. A level counts as wholly well
    /// while 1 / 1.4 of its endpoints are. Envoy's priority levels,
    /// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority>.
    pub fn proportional() -> Self {
        Self(Rule::Proportional { overprovisioning: USUAL })
    }

    /// How many percent of what is needed a level is taken to have; 140 unless given. Only for
    /// [`Priority::proportional`].
    pub fn overprovisioning(mut self, percent: u32) -> Self {
        if let Rule::Proportional { overprovisioning } = &mut self.0 {
            *overprovisioning = percent.max(1);
        }
        self
    }

    /// What each level takes, from the first on; ejections are not heeded while fewer than `panic` percent
    /// are well.
    pub fn loads(&self, levels: &[Level], panic: u32) -> Vec<Load> {
        self.loads_while(levels, &[], panic)
    }

    /// The same while some levels are waited for.
    pub(super) fn loads_while(&self, levels: &[Level], waited_for: &[bool], panic: u32) -> Vec<Load> {
        match self.0 {
            Rule::Failover { .. } => failover(levels, waited_for, panic),
            Rule::Proportional { overprovisioning } => proportional(levels, overprovisioning, panic),
        }
    }
}

/// Which levels are waited for, and since when.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// By priority, for levels without anybody ready; nothing for those that were found not to be reached.
    since: BTreeMap<u32, Option<Instant>>,
    next: Option<Instant>,
}

impl Waits {
    /// Forgets levels that are not there any more, and when the next wait is over.
    pub(super) fn begin(&mut self, is_there: impl Fn(u32) -> bool) {
        self.since.retain(|&priority, _| is_there(priority));
        self.next = None;
    }

    /// Whether a level is waited for at `now`.
    pub(super) fn is_waited_for(
        &mut self,
        rule: Priority,
        priority: u32,
        level: &Level,
        now: Instant,
    ) -> bool {
        let Rule::Failover { patience } = rule.0 else { return false };
        if level.healthy + level.degraded > 0 {
            self.since.remove(&priority);
            return false;
        }
        let since = self.since.entry(priority).or_insert(Some(now));
        if level.excluded == 0 {
            // All have been tried: it is not waited for until it has been ready once more.
            *since = None;
        }
        let until = since.and_then(|since| since.checked_add(patience)).filter(|&until| now < until);
        self.next = self.next.into_iter().chain(until).min();
        until.is_some()
    }

    /// When the next level is not waited for any more.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }
}

/// How many endpoints of one priority are how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// All of them.
    pub hosts: u32,
    /// Those that are well.
    pub healthy: u32,
    /// Those that are well enough if there are no better ones.
    pub degraded: u32,
    /// Those that nothing is known of yet.
    pub excluded: u32,
}

impl Level {
    /// Whether anything is known of any of them.
    pub(super) fn is_known(&self) -> bool {
        self.counted() > 0
    }

    fn counted(&self) -> u32 {
        self.hosts.saturating_sub(self.excluded)
    }

    fn percent(&self, of: u32, overprovisioning: u32) -> u32 {
        let percent = u64::from(overprovisioning) * u64::from(of);
        percent.checked_div(u64::from(self.counted())).unwrap_or(0).min(100) as u32
    }

    /// What those who are well take of all requests, and the degraded ones of what is too much for them, as in
    /// [`Priority::proportional`] where there is one level.
    fn divided(&self) -> Load {
        let healthy = self.percent(self.healthy, USUAL);
        let degraded = self.percent(self.degraded, USUAL).min(100 - healthy);
        let healthy = match (self.healthy, self.degraded) {
            (_, 0) => 100,
            (0, _) => 0,
            _ if healthy + degraded == 0 => 100,
            _ => (healthy * 100).div_ceil(healthy + degraded),
        };
        Load { healthy, degraded: 100 - healthy, panic: false }
    }

    fn panics(&self, threshold: u32) -> bool {
        panics(self.healthy + self.degraded, self.counted(), threshold)
    }
}

/// What one priority takes, in percent of all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// By endpoints that are well.
    pub healthy: u32,
    /// By degraded ones.
    pub degraded: u32,
    /// Whether ejections are not heeded.
    pub panic: bool,
}

fn failover(levels: &[Level], waited_for: &[bool], panic: u32) -> Vec<Load> {
    let mut loads = vec![Load::default(); levels.len()];
    let waits = |index: usize| waited_for.get(index).copied().unwrap_or_default();
    let first = |serves: &dyn Fn(&Level) -> bool| levels.iter().position(serves);
    let well = levels.iter().enumerate().position(|(index, level)| level.healthy > 0 || waits(index));
    let degraded = first(&|level| level.degraded > 0);
    let chosen = match (well, degraded) {
        // Nobody waits for a second choice while a first one is there.
        (Some(well), Some(degraded)) if degraded < well && levels[well].healthy == 0 => Some(degraded),
        _ => well.or(degraded).or_else(|| first(&|level| level.hosts > 0)),
    };
    if let Some((load, level)) = chosen.and_then(|index| loads.get_mut(index).zip(levels.get(index))) {
        *load = Load { panic: level.panics(panic), ..level.divided() };
    }
    loads
}

fn proportional(levels: &[Level], overprovisioning: u32, panic: u32) -> Vec<Load> {
    let healthy: Vec<_> = levels.iter().map(|level| level.percent(level.healthy, overprovisioning)).collect();
    let degraded: Vec<_> = levels
        .iter()
        .zip(&healthy)
        .map(|(level, healthy)| level.percent(level.degraded, overprovisioning).min(100 - healthy))
        .collect();
    let total = healthy.iter().chain(&degraded).sum::<u32>().min(100);
    let in_panic = |level: &Level| total < 100 && level.panics(panic);
    if total == 0 || levels.iter().all(in_panic) {
        return by_count(levels, in_panic);
    }
    let mut left = 100;
    let mut share = |part: &u32| {
        let share = (part * 100 / total).min(left);
        left -= share;
        share
    };
    let healthy: Vec<_> = healthy.iter().map(&mut share).collect();
    let degraded: Vec<_> = degraded.iter().map(&mut share).collect();
    let mut loads: Vec<_> = levels
        .iter()
        .zip(healthy.iter().zip(&degraded))
        .map(|(level, (&healthy, &degraded))| Load { healthy, degraded, panic: in_panic(level) })
        .collect();
    // What rounding left over goes to the first that takes any.
    match loads.iter().position(|load| load.healthy > 0) {
        Some(first) => loads[first].healthy += left,
        None => loads.iter_mut().find(|load| load.degraded > 0).into_iter().for_each(|l| l.degraded += left),
    }
    loads
}

/// Nobody is well anywhere: by number, whoever they are.
fn by_count(levels: &[Level], in_panic: impl Fn(&Level) -> bool) -> Vec<Load> {
    let total: u64 = levels.iter().map(|level| u64::from(level.hosts)).sum();
    let share = |level: &Level| (u64::from(level.hosts) * 100).checked_div(total).unwrap_or(0) as u32;
    let mut loads: Vec<_> = levels
        .iter()
        .map(|level| Load { healthy: share(level), degraded: 0, panic: in_panic(level) })
        .collect();
    let left = 100 - loads.iter().map(|load| load.healthy).sum::<u32>();
    if let Some(first) = levels.iter().position(|level| level.hosts > 0) {
        loads[first].healthy += left;
    }
    loads
}
