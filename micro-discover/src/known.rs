//! What was told of the endpoints of a service: by id, and in few bytes, since there may be ten thousand.

use std::fmt;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::hash_table::{Entry, HashTable};

use crate::mark::Marks;
use crate::record::{Endpoint, EndpointId};

/// The endpoints that were told.
#[derive(Default)]
pub(crate) struct Known {
    told: HashTable<Told>,
    ids: Ids,
    /// Counts the sets.
    turn: u64,
    state: RandomState,
    marks: Marks,
}

/// An endpoint that was told.
struct Told {
    id: Place,
    /// Stands for all that is said of it.
    mark: u64,
    /// The last set it was in.
    turn: u64,
}

impl Known {
    pub(crate) fn len(&self) -> usize {
        self.told.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Another set comes, of so many.
    pub(crate) fn turn(&mut self, endpoints: usize) {
        self.turn += 1;
        if self.is_empty() {
            let Self { told, ids, state, .. } = self;
            told.reserve(endpoints, |told| state.hash_one(ids.text(told.id)));
        }
    }

    /// Whether something is said of `endpoint` that was not, in the set of this turn. Then that is known.
    pub(crate) fn is_news(&mut self, endpoint: &Endpoint) -> bool {
        let Self { told, ids, turn, state, marks } = self;
        let (id, mark) = (endpoint.id.as_str(), marks.endpoint(endpoint));
        let hash = state.hash_one(id);
        match told.entry(hash, |told| ids.text(told.id) == id, |told| state.hash_one(ids.text(told.id))) {
            Entry::Occupied(known) if known.get().turn == *turn => {
                tracing::debug!(endpoint = id, "found twice: the first version's stands");
                false
            }
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.turn = *turn;
                std::mem::replace(&mut known.mark, mark) != mark
            }
            Entry::Vacant(place) => {
                place.insert(Told { id: ids.add(id), mark, turn: *turn });
                true
            }
        }
    }

    /// Those that were not in the set of this turn, in order. They are known no more.
    pub(crate) fn gone(&mut self) -> Vec<EndpointId> {
        let gone = self.told.extract_if(|told| told.turn != self.turn);
        let mut gone: Vec<_> = gone.map(|told| self.ids.take(told.id)).collect();
        gone.sort();
        if self.ids.is_mostly_unused() {
            let mut ids = Ids::default();
            for told in &mut self.told {
                told.id = ids.add(self.ids.text(told.id));
            }
            self.ids = ids;
        }
        gone
    }
}

/// Their ids.
impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.told.iter().map(|told| self.ids.text(told.id))).finish()
    }
}

/// Texts, one after the other.
#[derive(Default)]
struct Ids {
    text: String,
    /// How many bytes of it nobody needs any more.
    unused: usize,
}

/// Where a text is.
#[derive(Clone, Copy)]
struct Place {
    start: usize,
    end: usize,
}

impl Ids {
    fn text(&self, id: Place) -> &str {
        &self.text[id.start..id.end]
    }

    fn add(&mut self, id: &str) -> Place {
        let start = self.text.len();
        self.text.push_str(id);
        Place { start, end: self.text.len() }
    }

    /// The text as one of its own.
    fn take(&mut self, id: Place) -> String {
        self.unused += id.end - id.start;
        self.text(id).to_owned()
    }

    fn is_mostly_unused(&self) -> bool {
        self.unused > self.text.len() / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_and_goes_for_ever_takes_no_more_room() {
        let mut known = Known::default();
        for turn in 0..1_000 {
            known.turn(10);
            for id in turn..turn + 10 {
                let endpoint = Endpoint::new(format!("endpoint-{id}"), "h:1".parse().unwrap());
                assert_eq!(known.is_news(&endpoint), turn == 0 || id == turn + 9, "{turn} {id}");
            }
            let gone = (turn > 0).then(|| format!("endpoint-{}", turn - 1));
            assert_eq!(known.gone(), Vec::from_iter(gone));
            assert!(known.ids.text.len() < 400, "{}", known.ids.text.len());
        }
        let shown = format!("{known:?}");
        assert!(known.len() == 10 && shown.contains("endpoint-1000") && shown.contains("endpoint-1008"));
    }
}
