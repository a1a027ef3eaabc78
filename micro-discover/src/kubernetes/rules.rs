//! By which rule the endpoints of a Service are used: those that are ready, those near by, or those shutting down.

use super::said::Facts;
use super::select::{Family, Wanted};

/// How many addresses of one family there are, of which so much is said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    ready: usize,
    ready_local: usize,
    node_hints: usize,
    here: usize,
    zone_hints: usize,
    near: usize,
    last_resort: usize,
    last_resort_local: usize,
}

impl Count {
    pub(super) fn add(&mut self, facts: Facts) {
        self.each(facts, |count, fact| *count += usize::from(fact));
    }

    pub(super) fn remove(&mut self, facts: Facts) {
        self.each(facts, |count, fact| *count -= usize::from(fact));
    }

    fn each(&mut self, facts: Facts, change: impl Fn(&mut usize, bool)) {
        let Facts { ready, last_resort, local, node_hints, here, zone_hints, near } = facts;
        change(&mut self.ready, ready);
        change(&mut self.ready_local, ready && local);
        change(&mut self.node_hints, ready && node_hints);
        change(&mut self.here, ready && here);
        change(&mut self.zone_hints, ready && zone_hints);
        change(&mut self.near, ready && near);
        change(&mut self.last_resort, last_resort);
        change(&mut self.last_resort_local, last_resort && local);
    }
}

/// What may be used of a family.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Use {
    #[default]
    Nothing,
    Ready,
    ReadyLocal,
    /// Ready, and meant for this node.
    Here,
    /// Ready, and meant for this zone.
    Near,
    /// What is shutting down and still answers.
    LastResort,
    LastResortLocal,
}

impl Use {
    /// What is ready, where topology allows it.
    fn ready(count: Count, wanted: &Wanted) -> Self {
        let all = |hinted: usize| hinted == count.ready;
        match wanted.local {
            true if count.ready_local > 0 => Self::ReadyLocal,
            false if all(count.node_hints) && count.here > 0 => Self::Here,
            false if all(count.zone_hints) && count.near > 0 => Self::Near,
            false if count.ready > 0 => Self::Ready,
            _ => Self::Nothing,
        }
    }

    fn last_resort(count: Count, wanted: &Wanted) -> Self {
        match wanted.local {
            true if count.last_resort_local > 0 => Self::LastResortLocal,
            false if count.last_resort > 0 => Self::LastResort,
            _ => Self::Nothing,
        }
    }

    pub(super) fn fits(self, facts: Facts) -> bool {
        match self {
            Self::Nothing => false,
            Self::Ready => facts.ready,
            Self::ReadyLocal => facts.ready && facts.local,
            Self::Here => facts.ready && facts.here,
            Self::Near => facts.ready && facts.near,
            Self::LastResort => facts.last_resort,
            Self::LastResortLocal => facts.last_resort && facts.local,
        }
    }
}

/// By which rule each family is used, and whether nobody is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rules {
    pub(super) v4: Use,
    pub(super) v6: Use,
    pub(super) degraded: bool,
}

impl Rules {
    pub(super) fn of(count4: Count, count6: Count, wanted: &Wanted) -> Self {
        let (mut v4, mut v6) = (Use::ready(count4, wanted), Use::ready(count6, wanted));
        let degraded = (v4, v6) == (Use::Nothing, Use::Nothing);
        if degraded {
            (v4, v6) = (Use::last_resort(count4, wanted), Use::last_resort(count6, wanted));
        }
        match wanted.family {
            Family::PreferIpv4 if v4 != Use::Nothing => v6 = Use::Nothing,
            Family::PreferIpv6 if v6 != Use::Nothing => v4 = Use::Nothing,
            Family::PreferIpv4 | Family::PreferIpv6 | Family::Both => {}
        }
        Self { v4, v6, degraded }
    }
}
