//! How many endpoints stand how: whether they are one group of everybody who is well.

use std::collections::BTreeMap;

use crate::eligible::{Standing, priority::Level};

/// As what an endpoint is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) standing: Standing,
    pub(super) priority: u32,
    pub(super) drained: bool,
}

/// How many endpoints stand how.
#[derive(Debug, Default)]
pub(super) struct Census {
    standings: [u32; 5],
    drained: u32,
    priorities: BTreeMap<u32, u32>,
}

impl Census {
    /// Counts one endpoint as `new`, and not as `old` any more.
    pub(super) fn replace(&mut self, old: Option<Place>, new: Option<Place>) {
        if let Some(place) = old {
            self.standings[place.standing as usize] -= 1;
            self.drained -= u32::from(place.drained);
            if let Some(count) = self.priorities.get_mut(&place.priority) {
                *count -= 1;
                if *count == 0 {
                    self.priorities.remove(&place.priority);
                }
            }
        }
        if let Some(place) = new {
            self.standings[place.standing as usize] += 1;
            self.drained += u32::from(place.drained);
            *self.priorities.entry(place.priority).or_default() += 1;
        }
    }

    /// The one level that there is, where nobody is drained.
    pub(super) fn level(&self) -> Option<Level> {
        let of = |standing: Standing| self.standings[standing as usize];
        (self.drained == 0 && self.priorities.len() == 1).then(|| Level {
            hosts: self.standings.iter().sum(),
            healthy: of(Standing::Well),
            degraded: of(Standing::Degraded),
            excluded: of(Standing::New),
        })
    }
}
