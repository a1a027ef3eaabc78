//! Every set that a client is given, and how its watch is doing.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use micro_discover::{Registry, Status, Watch};

/// The ids in every set of the service `greeter`.
pub(crate) struct Seen {
    pub(crate) sets: Arc<Mutex<Vec<Vec<String>>>>,
    pub(crate) status: Status,
}

impl Seen {
    pub(crate) fn by(registry: &Arc<dyn Registry>) -> Self {
        let mut watch = Watch::new(registry.clone(), "greeter");
        let seen = Self { sets: Arc::default(), status: watch.status() };
        let sets = seen.sets.clone();
        tokio::spawn(async move {
            while let Some(set) = watch.next().await {
                let ids = set.iter().flat_map(|service| &service.endpoints).map(|e| e.id.clone());
                sets.lock().unwrap().push(ids.collect());
            }
        });
        seen
    }

    pub(crate) fn last(&self) -> Option<Vec<String>> {
        self.sets.lock().unwrap().last().cloned()
    }

    /// How long it takes until the set is this one.
    pub(crate) async fn until(&self, wanted: &[&str]) -> Duration {
        let start = Instant::now();
        while self.last().is_none_or(|last| last != wanted) {
            assert!(start.elapsed() < Duration::from_secs(60), "{:?}, not {wanted:?}", self.last());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        start.elapsed()
    }

    /// Waits until the watch has failed with `word` in what it says.
    pub(crate) async fn until_error(&self, word: &str) {
        let start = Instant::now();
        while self.status.last_error().is_none_or(|error| !error.contains(word)) {
            let said = self.status.last_error();
            assert!(start.elapsed() < Duration::from_secs(60), "{said:?}, not {word}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the watch fails.
    pub(crate) async fn until_stale(&self) {
        let start = Instant::now();
        while self.status.stale_since().is_none() {
            assert!(start.elapsed() < Duration::from_secs(60), "all is well");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether an endpoint that was in a set was missing from the next one.
    pub(crate) fn flapped(&self) -> bool {
        self.sets.lock().unwrap().windows(2).any(|two| two[0].iter().any(|id| !two[1].contains(id)))
    }

    /// Whether `id` was missing from a set after it had been in one.
    pub(crate) fn missed(&self, id: &str) -> bool {
        let sets = self.sets.lock().unwrap();
        let has = |set: &Vec<String>| set.iter().any(|known| known == id);
        sets.iter().skip_while(|set| !has(set)).any(|set| !has(set))
    }
}
