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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    fn place(standing: Standing, priority: u32, drained: bool) -> Option<Place> {
        Some(Place { standing, priority, drained })
    }

    #[test]
    fn whoever_comes_goes_and_changes_is_counted_once_as_what_it_is() {
        let mut census = Census::default();
        assert!(census.level().is_none(), "nobody is no level");
        let (well, new) = (place(Standing::Well, 3, false), place(Standing::New, 3, false));
        (0..3).for_each(|_| census.replace(None, well));
        census.replace(None, new);
        census.replace(well, place(Standing::Degraded, 3, false));
        let level = Level { hosts: 4, healthy: 2, degraded: 1, excluded: 1 };
        assert_eq!(census.level(), Some(level));
        census.replace(new, well);
        assert_eq!(census.level(), Some(Level { healthy: 3, excluded: 0, ..level }));
    }

    #[test]
    fn there_is_one_level_again_once_the_last_of_another_and_the_last_that_is_drained_have_gone() {
        let mut census = Census::default();
        let (well, later) = (place(Standing::Well, 0, false), place(Standing::Well, 1, false));
        let drained = place(Standing::Well, 0, true);
        for other in [later, drained] {
            census.replace(None, well);
            assert!(census.level().is_some());
            (0..2).for_each(|_| census.replace(None, other));
            assert!(census.level().is_none());
            census.replace(other, None);
            assert!(census.level().is_none(), "one of two");
            census.replace(other, well);
            assert_eq!(census.level().unwrap().hosts, 2);
            (0..2).for_each(|_| census.replace(well, None));
        }
    }
}
