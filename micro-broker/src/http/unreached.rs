//! Who took nothing of what was posted last: subscribers stay in the registry for a while after they left without a word.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// How long a subscriber is remembered: without a word, the registry keeps none for longer.
const KEPT: Duration = super::TTL;

/// Subscribers that were not reached, by id, and outboxes all of whose subscribers are such.
#[derive(Debug)]
pub(super) struct Unreached<K>(Mutex<State<K>>);

#[derive(Debug)]
struct State<K> {
    subscribers: HashMap<String, Instant>,
    outboxes: HashSet<K>,
}

impl<K> Default for Unreached<K> {
    fn default() -> Self {
        Self(Mutex::new(State { subscribers: HashMap::new(), outboxes: HashSet::new() }))
    }
}

impl<K: Hash + Eq + Clone> Unreached<K> {
    /// A subscriber was reached from this outbox, so both are well.
    pub(super) fn reached(&self, id: &str, outbox: &K) {
        let mut state = self.state();
        if !state.subscribers.is_empty() {
            state.subscribers.remove(id);
            state.outboxes.remove(outbox);
        }
    }

    pub(super) fn not_reached(&self, id: &str) {
        let mut state = self.state();
        state.subscribers.retain(|_, since| since.elapsed() < KEPT);
        state.subscribers.insert(id.to_owned(), Instant::now());
    }

    /// Nobody who reads this outbox was reached.
    pub(super) fn has_nobody(&self, outbox: &K) {
        self.state().outboxes.insert(outbox.clone());
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.state().subscribers.contains_key(id)
    }

    /// Whether there is somebody who may read this outbox.
    pub(super) fn is_read(&self, outbox: &K) -> bool {
        !self.state().outboxes.contains(outbox)
    }

    pub(super) fn forget(&self, outbox: &K) {
        self.state().outboxes.remove(outbox);
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.0.lock().expect("no user code runs under this lock")
    }
}
